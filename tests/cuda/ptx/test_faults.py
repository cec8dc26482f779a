"""What PTX leaves undefined stops the machine, with the instruction, its line and the thread."""

from __future__ import annotations

import numpy as np
import pytest

from . import grid
from .faults import (
    Deadlock,
    Misaligned,
    MissedBarrier,
    NotWaited,
    OutOfBounds,
    Race,
    SplitWarp,
    Unsupported,
    Unwritten,
)  # fmt: skip
from .snippets import Device

TILE = ".shared .align 16 .b8 tile[256];\n.shared .align 16 .b8 other[256];"
# %r5: this thread's word of `tile`; %d11: of the first array.
PLACES = """
    mov.u32 %r3, tile;
    shl.b32 %r4, %r0, 2;
    add.s32 %r5, %r3, %r4;
    cvt.u64.u32 %d10, %r4;
    add.s64 %d11, %d0, %d10;
    setp.eq.u32 %p1, %r0, 0;
"""


def run(body: str, *, n_words: int = 64, threads: int = 64, **settings) -> np.ndarray:
    """With one array of numbers 0, 1, ...; what it holds after."""
    device = Device()
    given = device.array(np.arange(n_words, dtype=np.uint32))
    device.run(PLACES + body, given, threads=threads, outside=TILE, **settings)
    return device.memory.get(given, n_words, np.uint32)


def stopped(kind: type | tuple, body: str, why: str, instruction: str, **settings):
    for seed in (None, 1, 2):
        with pytest.raises(kind, match=why) as told:
            run(body, seed=seed, **settings)
        assert told.value.instruction.startswith(instruction), told.value
        assert told.value.line > 0
        assert told.value.kernel == "test"
    return told.value


def test_a_vector_that_is_not_aligned():
    told = stopped(Misaligned, "ld.global.v2.b32 {%r10, %r11}, [%d11];", "8 bytes at once",
                   "ld.global.v2.b32")  # fmt: skip
    assert told.thread % 2 == 1


@pytest.mark.parametrize(
    ("body", "instruction"),
    [
        ("ld.global.b32 %r10, [%d11+256];", "ld.global.b32"),
        ("st.global.b32 [%d11+-4], %r0;", "st.global.b32"),
        ("st.shared.b32 [%r5+4], %r0;", "st.shared.b32"),
        ("st.shared.b32 [%r5+1048576], %r0;", "st.shared.b32"),
        ("mov.u64 %d12, 0; ld.b32 %r10, [%d12];", "ld.b32"),
    ],
)
def test_addresses_outside_of_arrays(body, instruction):
    stopped(OutOfBounds, body, "outside", instruction)


def test_memory_that_nobody_wrote():
    stopped(Unwritten, "ld.shared.b32 %r10, [%r5];", "read before anybody wrote", "ld.shared")
    device = Device()
    with pytest.raises(Unwritten):
        device.run("ld.global.b32 %r10, [%d0];", device.empty(4))


def test_words_of_other_threads_without_a_barrier():
    neighbour = "xor.b32 %r6, %r5, 4;"
    write, read = "st.shared.b32 [%r5], %r0;", "ld.shared.b32 %r10, [%r6];"
    stopped(Race, neighbour + write + read, "no barrier", "ld.shared")
    run(neighbour + write + "bar.sync 0;" + read)
    # Read, then written, by two threads.
    again = "st.shared.b32 [%r5], %r6;"
    stopped(
        Race,
        f"{neighbour}{write}bar.sync 0;{read}{again}",
        "no barrier",
        "st.shared.b32 [%r5], %r6",
    )
    run(f"{neighbour}{write}bar.sync 0;{read}bar.sync 0;{again}")
    # All threads read a word, and one writes it.
    first = f"{write}bar.sync 0;ld.shared.b32 %r10, [%r3];"
    stopped(Race, f"{first}@%p1 st.shared.b32 [%r3], %r0;", "no barrier", "@%p1 st.shared")
    run(f"{first}bar.sync 0;@%p1 st.shared.b32 [%r3], %r0;")
    # In the memory of the GPU too.
    stopped(Race, "st.global.b32 [%d0], %r0;", "no barrier", "st.global")
    stopped(Race, "@%p1 st.global.b32 [%d11+4], %r0;ld.global.b32 %r10, [%d11];", "no barrier",
            ["ld.global", "@%p1 st"][0])  # fmt: skip


def test_lanes_of_a_warp_may_meet_at_a_barrier_of_the_warp():
    write = "xor.b32 %r6, %r5, 4;st.shared.b32 [%r5], %r0;"
    run(f"{write}bar.warp.sync -1;ld.shared.b32 %r10, [%r6];st.global.b32 [%d11], %r10;")
    far = write.replace("%r5, 4", "%r5, 128")
    # The other warp has written the word, or is still to do so.
    unordered = (Race, Unwritten)
    stopped(unordered, f"{far}bar.warp.sync -1;ld.shared.b32 %r10, [%r6];", "read", "ld.shared")


def test_halves_of_a_word_are_different_places():
    body = """
        shr.u32 %r4, %r4, 1;
        add.s32 %r5, %r3, %r4;
        cvt.u16.u32 %h1, %r0;
        st.shared.b16 [%r5], %h1;
    """
    run(body)


def test_threads_that_end_or_turn_elsewhere_while_others_wait():
    stopped(
        MissedBarrier, "setp.gt.u32 %p2, %r0, 31;@%p2 ret;bar.sync 0;", "ended|ends", "bar.sync"
    )
    body = "setp.gt.u32 %p2, %r0, 40;@%p2 bra after;bar.sync 0;\nafter:"
    stopped(SplitWarp, body, "of the 32 threads of a warp", "bar.sync")
    body = "setp.gt.u32 %p2, %r0, 31;@%p2 bra after;bar.sync 0;ret;\nafter:\nbar.sync 0;"
    stopped(MissedBarrier, body, "wait at that of line", "bar.sync")


def test_a_barrier_under_a_predicate():
    stopped(SplitWarp, "@%p1 bar.sync 0;", "1 of the 32 threads", "@%p1 bar.sync")


def test_threads_that_wait_for_what_nobody_writes():
    body = """
    again:
        ld.acquire.gpu.global.b32 %r10, [%d0];
        setp.eq.u32 %p2, %r10, 0;
        @%p2 bra again;
    """
    stopped(Deadlock, body, "nothing new", "ld.acquire")


def test_a_loop_without_end(monkeypatch):
    monkeypatch.setattr(grid, "_MOST", 1000)
    with pytest.raises(Deadlock, match="no end after"):
        run("again:\nadd.s32 %r10, %r0, 1;\nbra again;")


COPY = """
    shr.u32 %r6, %r0, 5;
    setp.eq.u32 %p2, %r6, 0;
    cp.async.ca.shared.global [%r5], [%d11], 4;
    cp.async.commit_group;
"""


def test_copies_that_were_not_waited_for():
    read = "ld.shared.b32 %r10, [%r5];"
    stopped(NotWaited, f"{COPY}{read}", "waited for", "ld.shared")
    stopped(NotWaited, f"{COPY}cp.async.wait_group 1;{read}", "waited for", "ld.shared")
    stopped(NotWaited, f"{COPY}st.shared.b32 [%r5], %r0;", "fills it", "st.shared")
    run(f"{COPY}cp.async.wait_group 0;{read}")
    # Another thread's: a wait of its own and a barrier.
    other = "xor.b32 %r6, %r5, 4;ld.shared.b32 %r10, [%r6];"
    stopped(Race, f"{COPY}cp.async.wait_all;{other}", "no barrier", "ld.shared")
    stopped(NotWaited, f"{COPY}bar.sync 0;{other}", "waited for", "ld.shared")
    run(f"{COPY}cp.async.wait_all;bar.sync 0;{other}")


def test_copies_in_groups_arrive_in_turn():
    two = """
        cp.async.ca.shared.global [%r5], [%d11], 4;
        cp.async.commit_group;
        mov.u32 %r7, other;
        add.s32 %r7, %r7, %r4;
        mov.u32 %r8, 0;
        cp.async.ca.shared.global [%r7], [%d11], 4, %r8;
        cp.async.commit_group;
        cp.async.wait_group 1;
        ld.shared.b32 %r10, [%r5];
        add.s32 %r10, %r10, 100;
    """
    found = run(two + "cp.async.wait_group 0;ld.shared.b32 %r11, [%r7];"
                "add.s32 %r10, %r10, %r11;st.global.b32 [%d11], %r10;")  # fmt: skip
    np.testing.assert_array_equal(found, np.arange(64) + 100)  # the second copy is of no bytes
    stopped(NotWaited, two + "ld.shared.b32 %r11, [%r7];", "waited for", "ld.shared.b32 %r11")


def test_what_the_machine_does_not_know_is_told_when_it_is_reached():
    unknown = "wgmma.fence.sync.aligned;"
    with pytest.raises(Unsupported, match=r"opcode wgmma"):
        run(unknown)
    run(f"bra.uni after;\n{unknown}\nafter:")
    with pytest.raises(Unsupported, match="modifier"):
        run("add.cc.u32 %r10, %r0, %r0;")
