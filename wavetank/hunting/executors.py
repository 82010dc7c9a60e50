"""Who runs the trials: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import (  # noqa: TID251 - processes that run simulations; no thread in one
    Executor,
    Future,
    ProcessPoolExecutor,
)
from contextlib import contextmanager
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from wavetank.errors import BadInput

P = ParamSpec("P")
T = TypeVar("T")

DASK = "dask://"


class InlineExecutor(Executor):
    """Runs what it is given at once, in this process: for one job, and for tests that plant a bug in it."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A future that is done."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is the caller's, who gets it from the future
            future.set_exception(error)
        return future


@contextmanager
def _handled(
    number: signal.Signals, handler: signal.Handlers | Callable[..., NoReturn]
) -> Iterator[None]:
    """What a signal leads to in the block, where this process may say so: in its main thread."""
    try:
        before = signal.signal(number, handler)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(number, before)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def available_jobs() -> int:
    """How many processes this machine runs side by side."""
    return os.cpu_count() or 1


@contextmanager
def open_executor(jobs: int, address: str = "") -> Iterator[tuple[Executor, int]]:
    """An executor, and how many chunks it works on at a time. `address` is dask://HOST:PORT, or empty for `jobs` processes here. Raises BadInput."""
    if address:
        with _dask(address) as found:
            yield found
    elif jobs <= 1:
        yield InlineExecutor(), 1
    else:
        # spawned, not forked: a fork would copy whatever threads and files the caller has open
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(jobs, mp_context=context)
        try:
            # Ctrl-C is for this process alone, which hands out the work: what is started in the block inherits that it is ignored.
            with _handled(signal.SIGINT, signal.SIG_IGN):
                pool.submit(abs, 0)  # starts all of them
            # SIGTERM is as Ctrl-C, so that the workers end with their parent: CI ends what takes too long with it, and they would go on for ever.
            with _handled(signal.SIGTERM, _interrupt):
                yield pool, jobs
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _dask(address: str) -> Iterator[tuple[Executor, int]]:
    if not address.startswith(DASK):
        raise BadInput(f"--executor {address!r}; allowed: {DASK}HOST:PORT")
    try:
        import distributed  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise BadInput("--executor dask://: install wavetank[dask]") from None
    try:
        client: Any = cast("Any", distributed).Client(
            f"tcp://{address.removeprefix(DASK)}", timeout="5s"
        )
    except OSError as error:
        raise BadInput(f"--executor {address}: no Dask scheduler answers: {error}") from None
    with client:
        workers = len(client.scheduler_info()["workers"])
        # A trial is a function of its input, but one that failed to run is not run again behind our back.
        yield client.get_executor(pure=False, retries=0), max(1, workers)
