"""exp, log1p, tanh, sigmoid and erf on vectors, float32 and float64.

Sources: exp, tanh (float64) and erf from Cephes (S. Moshier); tanh (float32) is the 13/6
rational of Eigen; log1p is the atanh series. NaN stays NaN and infinities saturate.
"""

from ..jit import njit
from .simd import absolute, fma, is_double, like, power_of_two, select


@njit
def clamp(x, low, high):
    """x within [low, high]; NaN passes, since it is neither below nor above."""
    x = select(x < low, like(x, low), x)
    return select(x > high, like(x, high), x)


# The largest arguments of `exp`: its value there is the largest.
LARGEST_32, LARGEST_64 = 88.0, 709.0


@njit
def exp(x):
    """e^x: x = n ln 2 + r with |r| <= ln(2)/2, e^x = 2^n e^r; ln 2 in two parts keeps r exact.

    Clamped where 2^n would leave the normal numbers.
    """
    if is_double(x):
        x = clamp(x, -708.0, LARGEST_64)
        magic = 6755399441055744.0
        t = fma(x, like(x, 1.4426950408889634), like(x, magic))
        n = t - magic
        r = fma(n, like(x, -6.93145751953125e-1), x)
        r = fma(n, like(x, -1.42860682030941723212e-6), r)
        rr = r * r
        p = fma(rr, like(x, 1.26177193074810590878e-4), like(x, 3.02994407707441961300e-2))
        p = fma(p, rr, like(x, 9.99999999999999999910e-1)) * r
        q = fma(rr, like(x, 3.00198505138664455042e-6), like(x, 2.52448340349684104192e-3))
        q = fma(q, rr, like(x, 2.27265548208155028766e-1))
        q = fma(q, rr, like(x, 2.0))
        y = fma(p / (q - p), like(x, 2.0), like(x, 1.0))
        return y * power_of_two(t)
    x = clamp(x, -87.0, LARGEST_32)
    magic = 12582912.0
    t = fma(x, like(x, 1.44269504088896341), like(x, magic))
    n = t - magic
    r = fma(n, like(x, -0.693359375), x)
    r = fma(n, like(x, 2.12194440e-4), r)
    p = fma(r, like(x, 1.9875691500e-4), like(x, 1.3981999507e-3))
    p = fma(p, r, like(x, 8.3334519073e-3))
    p = fma(p, r, like(x, 4.1665795894e-2))
    p = fma(p, r, like(x, 1.6666665459e-1))
    p = fma(p, r, like(x, 5.0000001201e-1))
    y = fma(p, r * r, r + 1.0)
    return y * power_of_two(t)


@njit
def log1p_unit(y):
    """log(1 + y) for y in [0, 1]: 2 atanh(s), s = y / (2 + y) <= 1/3, as a series in s^2."""
    s = y / (y + 2.0)
    z = s * s
    if is_double(y):
        p = like(y, 1.0 / 35.0)
        p = fma(p, z, like(y, 1.0 / 33.0))
        p = fma(p, z, like(y, 1.0 / 31.0))
        p = fma(p, z, like(y, 1.0 / 29.0))
        p = fma(p, z, like(y, 1.0 / 27.0))
        p = fma(p, z, like(y, 1.0 / 25.0))
        p = fma(p, z, like(y, 1.0 / 23.0))
        p = fma(p, z, like(y, 1.0 / 21.0))
        p = fma(p, z, like(y, 1.0 / 19.0))
        p = fma(p, z, like(y, 1.0 / 17.0))
        p = fma(p, z, like(y, 1.0 / 15.0))
    else:
        p = like(y, 1.0 / 15.0)
    p = fma(p, z, like(y, 1.0 / 13.0))
    p = fma(p, z, like(y, 1.0 / 11.0))
    p = fma(p, z, like(y, 1.0 / 9.0))
    p = fma(p, z, like(y, 1.0 / 7.0))
    p = fma(p, z, like(y, 1.0 / 5.0))
    p = fma(p, z, like(y, 1.0 / 3.0))
    p = fma(p, z, like(y, 1.0))
    return s * p * 2.0


@njit
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1.0 / (exp(-x) + 1.0)


@njit
def tanh(x):
    if is_double(x):
        # |x| < 0.625: x + x^3 P(x^2)/Q(x^2); beyond: 1 - 2 / (e^2|x| + 1) loses no digits.
        z = x * x
        p = fma(z, like(x, -9.64399179425052238628e-1), like(x, -9.92877231001918586564e1))
        p = fma(p, z, like(x, -1.61468768441708447952e3))
        q = fma(z + 1.12811678491632931402e2, z, like(x, 2.23548839060100448583e3))
        q = fma(q, z, like(x, 4.84406305325125486048e3))
        near = fma(x * z, p / q, x)
        size = absolute(x)
        far = 1.0 - 2.0 / (exp(size + size) + 1.0)
        far = select(x < 0.0, -far, far)
        return select(size < 0.625, near, far)
    size = absolute(x)
    x = clamp(x, -7.90531110763549805, 7.90531110763549805)
    z = x * x
    p = fma(z, like(x, -2.76076847742355e-16), like(x, 2.00018790482477e-13))
    p = fma(p, z, like(x, -8.60467152213735e-11))
    p = fma(p, z, like(x, 5.12229709037114e-08))
    p = fma(p, z, like(x, 1.48572235717979e-05))
    p = fma(p, z, like(x, 6.37261928875436e-04))
    p = fma(p, z, like(x, 4.89352455891786e-03)) * x
    q = fma(z, like(x, 1.19825839466702e-06), like(x, 1.18534705686654e-04))
    q = fma(q, z, like(x, 2.26843463243900e-03))
    q = fma(q, z, like(x, 4.89352518554385e-03))
    # The rational ends at 1 - 2^-22; beyond 9.01 tanh rounds to 1.
    one = select(x < 0.0, like(x, -1.0), like(x, 1.0))
    return select(size > 9.01, one, p / q)


@njit
def expm1(x):
    """e^x - 1 for x <= 0 without cancellation: 2 t / (1 - t) with t = tanh(x / 2)."""
    t = tanh(x * 0.5)
    return (t + t) / (1.0 - t)


@njit
def softplus(x):
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), which does not overflow."""
    return select(x < 0.0, like(x, 0.0), x) + log1p_unit(exp(-absolute(x)))


@njit
def erf(x):
    """|x| < 1: x P(x^2)[/Q(x^2)]; beyond: 1 - e^(-x^2) R(|x|), clamped where erf rounds to 1."""
    z = x * x
    if is_double(x):
        p = fma(z, like(x, 9.60497373987051638749e0), like(x, 9.00260197203842689217e1))
        p = fma(p, z, like(x, 2.23200534594684319226e3))
        p = fma(p, z, like(x, 7.00332514112805075473e3))
        p = fma(p, z, like(x, 5.55923013010394962768e4))
        q = fma(z + 3.35617141647503099647e1, z, like(x, 5.21357949780152679795e2))
        q = fma(q, z, like(x, 4.59432382970980127987e3))
        q = fma(q, z, like(x, 2.26290000613890934246e4))
        q = fma(q, z, like(x, 4.92673942608635921086e4))
        near = x * p / q
        a = clamp(absolute(x), 0.0, 7.9)
        p = fma(a, like(x, 2.46196981473530512524e-10), like(x, 5.64189564831068821977e-1))
        p = fma(p, a, like(x, 7.46321056442269912687e0))
        p = fma(p, a, like(x, 4.86371970985681366614e1))
        p = fma(p, a, like(x, 1.96520832956077098242e2))
        p = fma(p, a, like(x, 5.26445194995477358631e2))
        p = fma(p, a, like(x, 9.34528527171957607540e2))
        p = fma(p, a, like(x, 1.02755188689515710272e3))
        p = fma(p, a, like(x, 5.57535335369399327526e2))
        q = fma(a + 1.32281951154744992508e1, a, like(x, 8.67072140885989742329e1))
        q = fma(q, a, like(x, 3.54937778887819891062e2))
        q = fma(q, a, like(x, 9.75708501743205489753e2))
        q = fma(q, a, like(x, 1.82390916687909736289e3))
        q = fma(q, a, like(x, 2.24633760818710981792e3))
        q = fma(q, a, like(x, 1.65666309194161350182e3))
        q = fma(q, a, like(x, 5.57535340817727675546e2))
        far = 1.0 - exp(-a * a) * p / q
    else:
        p = fma(z, like(x, 7.853861353153693e-5), like(x, -8.010193625184903e-4))
        p = fma(p, z, like(x, 5.188327685732524e-3))
        p = fma(p, z, like(x, -2.685381193529856e-2))
        p = fma(p, z, like(x, 1.128358514861418e-1))
        p = fma(p, z, like(x, -3.761262582423300e-1))
        p = fma(p, z, like(x, 1.128379165726710e0))
        near = x * p
        # Abramowitz and Stegun 7.1.26: 1 - erf is below 0.16 here, its 1.5e-7 is half an ulp of 1.
        a = clamp(absolute(x), 0.0, 4.5)
        t = 1.0 / fma(a, like(x, 0.3275911), like(x, 1.0))
        p = fma(t, like(x, 1.061405429), like(x, -1.453152027))
        p = fma(p, t, like(x, 1.421413741))
        p = fma(p, t, like(x, -0.284496736))
        p = fma(p, t, like(x, 0.254829592)) * t
        far = 1.0 - p * exp(-a * a)
    far = select(x < 0.0, -far, far)
    return select(absolute(x) < 1.0, near, far)
