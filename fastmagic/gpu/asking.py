"""One question to NVML at a time, each of which may be refused.

The library is asked through `pynvml`, the module of the distribution *nvidia-ml-py*.
"""

from __future__ import annotations

from typing import Any


class Asker:
    """Asks NVML single questions about one card; a refusal is None, never an error.

    Why: an old card, an old driver, a container or a GPU that falls off the bus in the middle
    refuses some questions and answers others.

    Parameters
    ----------
    nvml
        The `pynvml` module, opened.

    Attributes
    ----------
    lost
        The card fell off the bus. From then on nothing more is asked: every question to a lost
        card would be refused, some of them only after a time.
    words
        NVML's own words for the last refusal; empty where nothing was refused.
    """

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._lost_codes = lost_codes(nvml)
        self.lost = False
        self.words = ""

    def __call__(self, question: str, *arguments: Any) -> Any:
        """Ask `question`, the name of a function of `pynvml`; None where it is refused."""
        if self.lost:
            return None
        try:
            answer = getattr(self._nvml, question)(*arguments)
        except self._nvml.NVMLError as error:
            self.lost = error.value in self._lost_codes
            self.words = words(error)
            return None
        except (AttributeError, TypeError, OSError, ValueError) as error:
            self.words = str(error)  # an older pynvml, or text that is not UTF-8
            return None
        return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer

    def first(self, questions: tuple[str, ...], *arguments: Any) -> Any:
        """Ask the questions in turn; give the first answer, or None where all are refused.

        Drivers of different ages know one question under different names.
        """
        for question in questions:
            answer = self(question, *arguments)
            if answer is not None:
                return answer
        return None

    def constant(self, name: str) -> Any:
        """Give a constant of `pynvml`; None where an older one does not have it."""
        return getattr(self._nvml, name, None)


def lost_codes(nvml: Any) -> set[int]:
    """Give the error codes with which NVML says that a GPU fell off the bus.

    Parameters
    ----------
    nvml
        The `pynvml` module.

    Notes
    -----
    Source: `nvmlReturn_t` in NVIDIA's NVML API reference: GPU_IS_LOST is "the GPU has fallen off
    the bus or has otherwise become inaccessible", RESET_REQUIRED "the GPU requires a reset before
    it can be used again", https://docs.nvidia.com/deploy/nvml-api/.
    """
    names = ("NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_RESET_REQUIRED")
    return {getattr(nvml, name) for name in names if hasattr(nvml, name)}


def words(error: Any) -> str:
    """Give NVML's own words for an error, or its number where NVML has none.

    Parameters
    ----------
    error
        A `pynvml.NVMLError`.
    """
    try:
        return str(error)
    except Exception:  # its text comes from the same library that has just failed
        return f"NVML error {error.value}"
