"""How many threads take the steps: all of them, or one alone while the others would hold it up.

Another program on one of the processors, or steps too small for their meetings, can make all
threads together slower than one. No sum depends on the number of threads, so the loop may change
it from step to step: thread 0 watches how long threads wait, tries some steps alone where that is
long, and goes on with what takes less time for a step. The others sleep meanwhile.
"""

from ..jit import njit
from ..structs import STATUS_RUNNING, Sync, ThreadWord
from .sync import atomic_load, atomic_store, monotonic_ns, nap

MIN_STEPS = 4  # of a measured window
TRIAL_NS = 1_000_000
# A choice holds this long at first, twice as long each time that it proves right, up to the last.
FIRST_HOLD_NS, LAST_HOLD_NS = 20_000_000, 320_000_000
NAP_NS = 100_000
NEVER = 1 << 62
# What is below this share of the other way's time is better, noise aside.
BETTER = 0.95


@njit
def begin_window(sync, n_threads, words_at, now_ns, steps_done):
    """Measure from here on."""
    sync[Sync.WINDOW_SINCE_NS], sync[Sync.WINDOW_FROM] = now_ns, steps_done
    for thread in range(n_threads):
        at = words_at + 8 * thread
        sync[at + ThreadWord.WAITED_BEFORE_NS] = atomic_load(sync, at + ThreadWord.WAITED_NS)


@njit
def wait_too_long(sync, n_threads, words_at, elapsed_ns):
    """Whether one thread might be faster alone: the work of all is about that of the one that
    waited most, times their number, as their shares are alike."""
    most_ns = 0
    for thread in range(n_threads):
        at = words_at + 8 * thread
        waited_ns = atomic_load(sync, at + ThreadWord.WAITED_NS)
        most_ns = max(most_ns, waited_ns - sync[at + ThreadWord.WAITED_BEFORE_NS])
    return n_threads * (elapsed_ns - most_ns) < BETTER * elapsed_ns


@njit
def go_alone(sync, steps_done, hold_ns, step_ns):
    """Thread 0 takes the next steps alone, as many as fill `hold_ns`; the first is not measured."""
    n_steps = 1 + max(MIN_STEPS, hold_ns // max(step_ns, 1))
    sync[Sync.WINDOW_SINCE_NS] = 0
    atomic_store(sync, Sync.ALONE_UNTIL, steps_done + n_steps)


@njit
def choose_team(sync, n_threads, words_at, steps_done):
    """For thread 0 after `steps_done` steps of the job: whether it goes on alone.

    sync[WINDOW_NS]: what is measured together before that is asked; 0 where it never is.
    """
    if sync[Sync.WINDOW_NS] == 0:
        return
    now_ns = monotonic_ns()
    if sync[Sync.WINDOW_SINCE_NS] == 0:
        # The step in which the way changed: others fell asleep or woke up.
        begin_window(sync, n_threads, words_at, now_ns, steps_done)
        return
    elapsed_ns, n_steps = now_ns - sync[Sync.WINDOW_SINCE_NS], steps_done - sync[Sync.WINDOW_FROM]
    until = sync[Sync.ALONE_UNTIL]
    if steps_done < until:
        return
    if steps_done == until:
        alone_ns = elapsed_ns // n_steps
        is_trial = sync[Sync.ALONE_NS] == 0
        sync[Sync.N_ALONE] += n_steps + 1
        hold_ns = max(sync[Sync.HOLD_NS], FIRST_HOLD_NS)
        sync[Sync.HOLD_NS] = min(2 * hold_ns, LAST_HOLD_NS)
        sync[Sync.WINDOW_SINCE_NS] = 0
        if not is_trial:
            sync[Sync.ALONE_NS] = alone_ns  # and try together again
        elif alone_ns < BETTER * sync[Sync.TOGETHER_NS]:
            sync[Sync.ALONE_NS], sync[Sync.HOLD_NS] = alone_ns, FIRST_HOLD_NS
            go_alone(sync, steps_done, FIRST_HOLD_NS, alone_ns)
        else:
            sync[Sync.NO_TRIAL_BEFORE_NS] = now_ns + hold_ns
        return
    if elapsed_ns < sync[Sync.WINDOW_NS] or n_steps < MIN_STEPS:
        return
    together_ns, alone_ns = elapsed_ns // n_steps, sync[Sync.ALONE_NS]
    sync[Sync.TOGETHER_NS] = together_ns
    if alone_ns > 0 and together_ns > alone_ns:
        go_alone(sync, steps_done, sync[Sync.HOLD_NS], alone_ns)
        return
    if alone_ns > 0:
        sync[Sync.ALONE_NS], sync[Sync.HOLD_NS] = 0, FIRST_HOLD_NS
    late = wait_too_long(sync, n_threads, words_at, elapsed_ns)
    if late and now_ns >= sync[Sync.NO_TRIAL_BEFORE_NS]:
        go_alone(sync, steps_done, TRIAL_NS, together_ns)
    else:
        begin_window(sync, n_threads, words_at, now_ns, steps_done)


@njit
def wait_for_thread_0(sync):
    """Sleep while thread 0 goes on alone; the step that all take again, or -1 at the job's end."""
    while True:
        # Before the bound: thread 0 raises that first.
        steps_done = atomic_load(sync, Sync.STEP)
        until = atomic_load(sync, Sync.ALONE_UNTIL)
        if atomic_load(sync, Sync.STATUS) != STATUS_RUNNING:
            return -1
        if steps_done >= until:
            return until
        nap(NAP_NS)
