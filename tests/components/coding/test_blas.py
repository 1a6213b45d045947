import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from components.coding.blas import one_blas_thread


def threads() -> set[int]:
    """Those of numpy's library: others, such as scipy's, are loaded by other tests."""
    np.ones((2, 2)) @ np.ones((2, 2))
    blas = (pool for pool in threadpool_info() if pool["user_api"] == "blas")
    return {pool["num_threads"] for pool in blas if "numpy" in pool["filepath"]}


def test_the_last_of_several_blocks_restores_the_threads() -> None:
    with threadpool_limits(2, user_api="blas"):
        if threads() != {2}:
            pytest.skip("numpy has no second thread here")
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        assert threads() == {1}
        first.__exit__(None, None, None)  # as one thread of a folder ends before another
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == {2}
