"""Ctrl-C that is held back while several things change together."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from fastmlp.interrupts import held_back


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
