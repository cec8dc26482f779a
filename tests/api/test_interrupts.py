"""Ctrl-C and signals: held back while several things change together, and what they end."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from fastmlp.interrupts import (
    Terminated,
    ending_by_signals,
    ending_signal,
    held_back,
    let_through,
)


def press():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def handler_stays():
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_waits_for_the_end_of_the_block():
    reached = False
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
        with held_back() as came:
            assert not came
            press()
            assert came
            reached = True
    assert reached


def test_an_inner_block_tells_the_outer_one():
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
        with held_back() as outer:
            with held_back() as inner:
                press()
                assert len(inner) == 1
                assert not outer
            assert len(outer) == 1


def test_an_error_of_the_block_goes_first():
    with pytest.raises(LookupError), held_back():  # noqa: PT012
        press()
        raise LookupError


def test_nothing_is_held_where_nothing_would_be_raised():
    seen = []

    def elsewhere():
        with held_back() as came:
            seen.append((list(came), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [([], signal.default_int_handler)]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with held_back() as came:
            press()
            assert not came
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


# --- let through, and emptied --------------------------------------------------------------------


def test_within_a_block_it_can_be_let_through():
    with held_back() as came:
        with pytest.raises(KeyboardInterrupt), let_through():
            press()
        press()
        assert len(came) == 1
        with pytest.raises(KeyboardInterrupt), let_through():
            raise AssertionError("what came before is raised first")
        assert not came


def test_a_list_that_is_emptied_raises_nothing():
    with held_back() as came:
        press()
        came.clear()


def test_a_second_one_is_raised_where_only_the_first_is_held():
    with pytest.raises(KeyboardInterrupt), held_back(only_first=True) as came:  # noqa: PT012
        press()
        assert len(came) == 1
        press()
        raise AssertionError("the second one was held back too")


# --- signals that end the process ----------------------------------------------------------------

ENDING = [signal.SIGTERM, signal.SIGHUP]
each_ending = pytest.mark.parametrize("number", ENDING)


@each_ending
def test_a_signal_ends_the_block_and_then_the_process(number):
    reached = []
    with pytest.raises(SystemExit) as ended, ending_by_signals():  # noqa: PT012
        with pytest.raises(KeyboardInterrupt) as caught:
            os.kill(os.getpid(), number)
        assert isinstance(caught.value, Terminated)
        assert ending_signal() == caught.value.number == number
        reached.append("what is done at the end")
    assert reached == ["what is done at the end"]
    assert ended.value.code == 128 + number
    assert [signal.getsignal(n) for n in ENDING] == [signal.SIG_DFL] * 2
    assert ending_signal() is None


@each_ending
def test_a_signal_is_held_back_too(number):
    reached = False
    with pytest.raises(SystemExit), ending_by_signals():  # noqa: PT012
        with held_back() as outer:
            with held_back():
                os.kill(os.getpid(), number)
            assert len(outer) == 1
            reached = True
        raise AssertionError("it was lost")
    assert reached


def test_an_inner_block_raises_it_on():
    with pytest.raises(SystemExit), ending_by_signals():  # noqa: PT012
        with pytest.raises(Terminated), ending_by_signals(), held_back() as came:  # noqa: PT012
            os.kill(os.getpid(), signal.SIGTERM)
            came.clear()
        raise LookupError("an error, too, gives way to the end of the process")


@pytest.mark.parametrize("own", [signal.SIG_IGN, lambda *_: heard.append("own")])
def test_a_handler_of_ones_own_is_left_alone(own):
    before = signal.signal(signal.SIGTERM, own)
    heard.clear()
    try:
        with ending_by_signals(), held_back() as came:
            assert signal.getsignal(signal.SIGTERM) is own
            os.kill(os.getpid(), signal.SIGTERM)
            assert not came
            assert heard == ([] if own is signal.SIG_IGN else ["own"])
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


heard: list[str] = []


def test_a_handler_that_is_set_within_the_block_stays():
    before = signal.getsignal(signal.SIGTERM)
    try:
        with ending_by_signals():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_forked_child_dies_of_the_signal():
    with ending_by_signals():
        ready, begun = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(begun, b"1")
                while True:
                    time.sleep(0.01)
            finally:
                os._exit(1)
        os.read(ready, 1)
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_other_threads_change_nothing():
    def elsewhere():
        with ending_by_signals(), let_through():
            seen.append(signal.getsignal(signal.SIGTERM))

    seen = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]
