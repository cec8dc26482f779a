"""Blocks that talk to one another: what they may read, and what of it a GPU does not promise."""

from __future__ import annotations

import numpy as np
import pytest

from .faults import Deadlock, Unfenced
from .snippets import Device

N_BLOCKS, THREADS = 6, 64
SEEDS = (None, 1, 2, 3, 4, 5)
SHARED = ".shared .align 4 .b8 ticket[4];"
# %d11: this thread's number of the first array; %p1: thread 0.
OWN = """
    mov.u32 %r2, %ntid.x;
    mad.lo.s32 %r3, %r1, %r2, %r0;
    mul.wide.u32 %d10, %r3, 4;
    add.s64 %d11, %d0, %d10;
    setp.eq.u32 %p1, %r0, 0;
    add.s32 %r4, %r3, 5;
    st.global.b32 [%d11], %r4;
"""
# The block that comes last adds up what all have written: %r10 is its sum, of thread 0.
SUM = """
    ld.shared.b32 %r6, [ticket];
    mov.u32 %r7, %nctaid.x;
    sub.s32 %r7, %r7, 1;
    setp.ne.u32 %p2, %r6, %r7;
    @%p2 ret;
    {acquire}
    mul.lo.s32 %r8, %r2, %nctaid.x;
    mov.u32 %r9, %r0;
    mov.u32 %r10, 0;
next:
    mul.wide.u32 %d12, %r9, 4;
    add.s64 %d13, %d0, %d12;
    ld.global.b32 %r12, [%d13];
    add.s32 %r10, %r10, %r12;
    add.s32 %r9, %r9, %r2;
    setp.lt.u32 %p3, %r9, %r8;
    @%p3 bra next;
    red.global.add.u32 [%d2], %r10;
"""


def last_block(release: str, count: str, acquire: str) -> str:
    body = SUM.format(acquire=acquire).replace(
        "%nctaid.x;\n    mov.u32 %r9", "%r13;\n    mov.u32 %r9"
    )
    body = body.replace(
        "mul.lo.s32 %r8, %r2, %r13", "mov.u32 %r13, %nctaid.x; mul.lo.s32 %r8, %r2, %r13"
    )
    return (
        f"{OWN}{release}bar.sync 0;@!%p1 bra counted;\n{count}"
        f"st.shared.b32 [ticket], %r5;\ncounted:\nbar.sync 0;{body}"
    )


def run(body: str, seed, **settings) -> tuple[np.ndarray, np.ndarray]:
    device = Device()
    numbers = device.empty(4 * N_BLOCKS * THREADS)
    counter, total = device.array(np.zeros(4, np.uint32)), device.array(np.zeros(4, np.uint32))
    device.run(
        body, numbers, counter, total, blocks=N_BLOCKS, threads=THREADS, seed=seed,
        outside=SHARED, **settings,
    )  # fmt: skip
    return device.memory.get(total, 4, np.uint32), device.memory.get(counter, 4, np.uint32)


COUNT = "atom.global.add.u32 %r5, [%d1], 1;"
CHAINS = {
    "a fence of every thread": ("membar.gl;", COUNT, "membar.gl;"),
    "a fence of the thread that counts": (
        "", f"fence.acq_rel.gpu;{COUNT}fence.acq_rel.gpu;", "",
    ),
    "one operation that does both": ("", "atom.acq_rel.gpu.global.add.u32 %r5, [%d1], 1;", ""),
    "a release and a fence": (
        "", "atom.release.gpu.global.add.u32 %r5, [%d1], 1;fence.acq_rel.gpu;", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_last_block_may_read_what_all_wrote(chain, seed):
    n = N_BLOCKS * THREADS
    total, counter = run(last_block(*CHAINS[chain]), seed)
    assert total[0] == n * (n - 1) // 2 + 5 * n
    assert counter[0] == N_BLOCKS
    assert run(last_block(*CHAINS[chain]), seed, resident=2)[0][0] == total[0]


BROKEN = {
    "no fence": ("", COUNT, ""),
    "nothing is released": ("", COUNT, "membar.gl;"),
    "nothing is acquired": ("membar.gl;", COUNT, ""),
    "of the block alone": ("membar.cta;", COUNT, "membar.gl;"),
    "counted within the block": (
        "membar.gl;",
        COUNT.replace("atom", "atom.relaxed.cta"),
        "membar.gl;",
    ),
    "released by one thread before the barrier": ("@%p1 membar.gl;", COUNT, "membar.gl;"),
    "acquired too early": ("membar.gl;", f"fence.acq_rel.gpu;{COUNT}", ""),
}


@pytest.mark.parametrize("missing", BROKEN)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_chain_that_is_broken_is_told_at_the_load(missing, seed):
    with pytest.raises(Unfenced, match=r"read, and written by block \d") as told:
        run(last_block(*BROKEN[missing]), seed)
    assert told.value.instruction.startswith("ld.global.b32 %r12")


def barrier(arrive: str, look: str) -> str:
    """All blocks wait for one another, then each reads its neighbour's numbers."""
    return f"""{OWN}
        bar.sync 0;
        @!%p1 bra met;
        {arrive}
    wait:
        {look}
        setp.lt.u32 %p2, %r5, {N_BLOCKS};
        @%p2 bra wait;
    met:
        bar.sync 0;
        add.s32 %r6, %r1, 1;
        rem.u32 %r6, %r6, {N_BLOCKS};
        mad.lo.s32 %r7, %r6, %r2, %r0;
        mul.wide.u32 %d12, %r7, 4;
        add.s64 %d13, %d0, %d12;
        ld.global.b32 %r12, [%d13];
        red.global.add.u32 [%d2], %r12;
    """


BARRIERS = {
    "release and acquire": (
        "red.release.gpu.global.add.u32 [%d1], 1;", "ld.acquire.gpu.global.b32 %r5, [%d1];",
    ),
    "fences and volatile": (
        "membar.gl;red.global.add.u32 [%d1], 1;", "ld.volatile.global.b32 %r5, [%d1];membar.gl;",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BARRIERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_barrier_of_all_blocks(kind, seed):
    n = N_BLOCKS * THREADS
    assert run(barrier(*BARRIERS[kind]), seed)[0][0] == n * (n - 1) // 2 + 5 * n


def test_a_barrier_of_all_blocks_without_a_release_or_an_acquire():
    arrive, look = BARRIERS["release and acquire"]
    for broken in ((arrive.replace(".release", ".relaxed"), look),
                   (arrive, look.replace(".acquire", ".relaxed"))):  # fmt: skip
        for seed in SEEDS:
            with pytest.raises(Unfenced) as told:
                run(barrier(*broken), seed)
            assert told.value.instruction.startswith("ld.global.b32 %r12")


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_that_are_not_resident_are_waited_for_in_vain(seed):
    with pytest.raises(Deadlock, match="found nothing new") as told:
        run(barrier(*BARRIERS["release and acquire"]), seed, resident=N_BLOCKS - 1)
    assert told.value.instruction.startswith("ld.acquire")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_value_and_a_flag(seed):
    """Block 0 stores a value, then a flag; the others wait for the flag."""
    body = """
        setp.ne.u32 %p1, %r0, 0;
        @%p1 ret;
        setp.ne.u32 %p1, %r1, 0;
        @%p1 bra wait;
        mov.u32 %r5, 42;
        st.global.b32 [%d0], %r5;
        st.release.gpu.global.b32 [%d1], %r5;
        ret;
    wait:
        ld.acquire.gpu.global.b32 %r6, [%d1];
        setp.eq.u32 %p2, %r6, 0;
        @%p2 bra wait;
        ld.global.b32 %r7, [%d0];
        red.global.add.u32 [%d2], %r7;
    """
    assert run(body, seed)[0][0] == 42 * (N_BLOCKS - 1)
    for broken in (body.replace("st.release.gpu", "st.relaxed.gpu"),
                   body.replace("ld.acquire.gpu", "ld.relaxed.gpu")):  # fmt: skip
        with pytest.raises(Unfenced) as told:
            run(broken, seed)
        assert told.value.instruction.startswith("ld.global.b32 %r7")
    with pytest.raises(Unfenced) as told:  # a weak store of the flag races with those who look
        run(body.replace("st.release.gpu.global", "st.global"), seed)
    assert "[%d1]" in told.value.instruction


@pytest.mark.parametrize("seed", SEEDS)
def test_two_blocks_that_write_one_word(seed):
    with pytest.raises(Unfenced, match=r"written, and written by block \d"):
        run("setp.eq.u32 %p1, %r0, 0;@%p1 st.global.b32 [%d1], %r1;", seed)


# ---- atomic operations ---------------------------------------------------------------------------

ATOMIC = {
    "add.u32": lambda a: int(a.sum()), "add.s32": lambda a: int(a.sum()),
    "add.u64": lambda a: int(a.sum()), "max.u32": lambda a: int(a.max()),
    "min.u32": lambda a: min(7, int(a.min())), "or.b32": lambda a: int(np.bitwise_or.reduce(a)) | 7,
    "xor.b32": lambda a: int(np.bitwise_xor.reduce(a)) ^ 7, "and.b32": lambda a: 7 & int(
        np.bitwise_and.reduce(a)), "max.s64": lambda a: int(a.max()),
}  # fmt: skip


@pytest.mark.parametrize("name", ATOMIC)
@pytest.mark.parametrize("seed", [None, 7])
def test_atomic_operations_of_many_threads(name, seed):
    device, n = Device(), 10_240
    wide = name.endswith("64")
    values = np.random.default_rng(0).integers(0, 100, n).astype(np.uint64 if wide else np.uint32)
    given, start = device.array(values), 0 if "add" in name else 7
    out = device.array(np.array([start], values.dtype))
    width, register = values.itemsize, "%d12" if wide else "%r12"
    device.run(
        f"mov.u32 %r2, %ntid.x;\nmad.lo.s32 %r3, %r1, %r2, %r0;\nmul.wide.u32 %d10, %r3, {width};\n"
        f"add.s64 %d11, %d0, %d10;\nld.global.b{8 * width} {register}, [%d11];\n"
        f"red.global.{name} [%d1], {register};",
        given, out, blocks=40, threads=256, seed=seed,
    )  # fmt: skip
    assert device.memory.get(out, 1, values.dtype)[0] == ATOMIC[name](values)


@pytest.mark.parametrize("seed", SEEDS)
def test_tickets_are_given_once(seed):
    device = Device()
    counter, out = device.array(np.zeros(1, np.uint64)), device.empty(8 * 256)
    device.run(
        "mov.u32 %r2, %ntid.x;\nmad.lo.s32 %r3, %r1, %r2, %r0;\nmul.wide.u32 %d10, %r3, 8;\n"
        "add.s64 %d11, %d1, %d10;\nmov.u64 %d13, 1;\natom.global.add.u64 %d12, [%d0], %d13;\n"
        "st.global.b64 [%d11], %d12;",
        counter, out, blocks=4, threads=64, seed=seed,
    )  # fmt: skip
    given = device.memory.get(out, 256, np.uint64)
    assert sorted(given) == list(range(256))
    assert (given.tolist() == list(range(256))) == (seed is None)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lock_of_compare_and_swap(seed):
    """Each block adds one to a number that a lock guards."""
    device = Device()
    lock, number = device.array(np.zeros(1, np.uint32)), device.array(np.zeros(1, np.uint32))
    device.run(
        """
        setp.ne.u32 %p1, %r0, 0;
        @%p1 ret;
    again:
        atom.acquire.gpu.global.cas.b32 %r5, [%d0], 0, 1;
        setp.ne.u32 %p2, %r5, 0;
        @%p2 bra again;
        ld.global.b32 %r6, [%d1];
        add.s32 %r6, %r6, 1;
        st.global.b32 [%d1], %r6;
        atom.release.gpu.global.exch.b32 %r7, [%d0], 0;
        """,
        lock, number, blocks=12, threads=64, seed=seed,
    )  # fmt: skip
    assert device.memory.get(number, 1, np.uint32)[0] == 12
