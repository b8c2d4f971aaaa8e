"""What pip and uv have in common as installers: where from, what is chosen, how it is followed."""

from __future__ import annotations

import abc
import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastmagic.environment.installers import network, running, words
from fastmagic.environment.installers.network import Settings
from fastmagic.environment.installers.running import Heard, Outcome, Tell
from fastmagic.environment.planning.plan import Plan
from fastmagic.errors import SetupError

Sizes = Callable[[Iterable[str]], Mapping[str, int]]


@dataclass(frozen=True)
class Source:
    """Where packages come from.

    Attributes
    ----------
    index_url
        The package index; None for the installer's own setting, "" for none at all.
    find_links
        A folder or page with wheels.

    Examples
    --------
    >>> Source(index_url="", find_links="wheels").options()
    ['--no-index', '--find-links', 'wheels']
    """

    index_url: str | None = None
    find_links: str | None = None

    def options(self) -> list[str]:
        """Give the options for it, which pip and uv call alike."""
        options: list[str] = []
        if self.index_url is not None:
            options += ["--index-url", self.index_url] if self.index_url else ["--no-index"]
        return [*options, "--find-links", self.find_links] if self.find_links else options

    def over(self, settings: Settings) -> Settings:
        """Give an installer's own settings as they are with these options.

        Examples
        --------
        >>> Source(index_url="").over(Settings()).no_index
        True
        """
        links = (*settings.find_links, *filter(None, [self.find_links]))
        settings = dataclasses.replace(settings, find_links=links)
        if self.index_url is None:
            return settings
        index, no_index = self.index_url or settings.index_url, not self.index_url
        return dataclasses.replace(settings, index_url=index, no_index=no_index)


@dataclass(frozen=True)
class Patience:
    """How long an installer tries before it is a failure.

    Attributes
    ----------
    retries
        How often a request is tried again. pip's own five, with growing pauses, look like a hang
        where there is no network; two bridge a short hiccup.
    timeout
        Seconds without a byte after which one try has failed: pip's default.
    silence
        Seconds without a line after which the whole installer is ended: what no timeout of a
        socket bounds, such as a server that sends one byte now and then.
    """

    retries: int = 2
    timeout: int = 15
    silence: float = 300.0


USUAL = Patience()


@dataclass(frozen=True)
class Chosen:
    """One distribution that the resolver chose.

    Attributes
    ----------
    name
        Its canonical name.
    version
        The version.
    size
        Bytes to download; None where the index does not tell cheaply.
    url
        Where it comes from; empty where the installer does not tell.
    """

    name: str
    version: str
    size: int | None = None
    url: str = ""


class Installer(abc.ABC):
    """One Python's installer, writing to one log.

    Parameters
    ----------
    executable
        The Python whose packages are changed.
    log
        The file that gets the installer's whole output.
    source
        Where packages come from.
    tell
        Moves the progress line.
    patience
        How long it tries.
    upgrade
        Take the newest version that fits of what is asked for, also where an older one would do.
    """

    title = ""
    settings: Callable[[], Settings] = staticmethod(network.pip_settings)

    def __init__(
        self,
        executable: str,
        log: Path,
        source: Source,
        tell: Tell = lambda *_: None,
        patience: Patience = USUAL,
        upgrade: bool = False,
    ) -> None:
        self._executable = executable
        self._log = log
        self._source = source
        self._tell = tell
        self._patience = patience
        self._upgrade = upgrade

    def choose(self, plan: Plan, sizes: Sizes | None = network.sizes) -> tuple[Chosen, ...]:
        """Ask the resolver what the plan comes to; changes nothing.

        Parameters
        ----------
        plan
            What is wanted.
        sizes
            Says how many bytes each address holds; None to leave the sizes out.

        Returns
        -------
        tuple
            Everything that would be installed or changed.

        Raises
        ------
        SetupError
            When there is no solution, or the installer is missing or too old.
        """
        self._check()
        gentle = (*plan.pins, *plan.friends)
        with tempfile.TemporaryDirectory(prefix="fastmagic-") as folder:
            outcome = self._go(plan, gentle, Path(folder), dry=True)
            if outcome.code != 0 and plan.friends and words.is_conflict(outcome.lines):
                outcome = self._go(plan, plan.pins, Path(folder), dry=True)
            if outcome.code != 0 or outcome.fell_silent:
                what = f"Nothing was changed, for {self.title} found no way to install this"
                raise self._failure(what, outcome)
            found = self._read(outcome, Path(folder))
        known = sizes(one.url for one in found if one.url) if sizes else {}
        return tuple(dataclasses.replace(one, size=known.get(one.url)) for one in found)

    def resolve(self, plan: Plan) -> dict[str, str]:
        """Give name and version of everything that `choose` finds, without sizes."""
        return {one.name: one.version for one in self.choose(plan, sizes=None)}

    def install(self, plan: Plan, versions: Mapping[str, str]) -> None:
        """Install exactly what `choose` found.

        Parameters
        ----------
        plan
            What is wanted.
        versions
            Name to version, as `resolve` gave them.

        Raises
        ------
        SetupError
            When it fails; it says what happened in plain words and where the log is.
        KeyboardInterrupt
            When the person pressed stop.
        """
        self._check()
        exact = tuple(f"{name}=={version}" for name, version in versions.items())
        with tempfile.TemporaryDirectory(prefix="fastmagic-") as folder:
            outcome = self._go(plan, (*plan.pins, *exact), Path(folder), dry=False)
        if outcome.code != 0 or outcome.fell_silent:
            raise self._failure("The installation failed", outcome)

    @abc.abstractmethod
    def _check(self) -> None:
        """Raise where the installer itself is missing or unfit."""

    @abc.abstractmethod
    def _command(self, folder: Path, dry: bool) -> list[str]:
        """Give the command up to the options that both share."""

    @abc.abstractmethod
    def _hear(self, line: str) -> Heard:
        """Say what a line of its output means."""

    @abc.abstractmethod
    def _read(self, outcome: Outcome, folder: Path) -> tuple[Chosen, ...]:
        """Read what a dry run chose."""

    def _environment(self, folder: Path) -> dict[str, str]:
        # Temporary files lie in our folder, so that a killed installer leaves nothing behind.
        return {"PYTHONUNBUFFERED": "1", "TMPDIR": str(folder)}

    def _index_options(self, plan: Plan) -> list[str]:
        return ["--extra-index-url", plan.index] if plan.index else []

    def _ask_why(self, plan: Plan, outcome: Outcome, folder: Path) -> tuple[str, ...]:
        """Give what the installer says about a failure only when it is asked."""
        del plan, outcome, folder
        return ()

    def _go(self, plan: Plan, constraints: Sequence[str], folder: Path, dry: bool) -> Outcome:
        held = folder / "constraints.txt"
        held.write_text("".join(f"{line}\n" for line in dict.fromkeys(constraints)), "utf-8")
        command = [
            *self._command(folder, dry),
            *("--constraint", str(held)),
            *(["--upgrade"] if self._upgrade else []),
            *self._source.options(),
            *self._index_options(plan),
            *plan.requirements,
        ]
        outcome = self._run(command, f"Asking {self.title}" if dry else "Installing", folder)
        if outcome.code == 0 or outcome.fell_silent:
            return outcome
        more = self._ask_why(plan, outcome, folder)
        return dataclasses.replace(outcome, lines=(*outcome.lines, *more))

    def _run(self, command: Sequence[str], label: str, folder: Path) -> Outcome:
        env, silence = self._environment(folder), self._patience.silence
        return running.run(command, self._log, label, self._hear, self._tell, env, silence)

    def _failure(self, what: str, outcome: Outcome) -> SetupError:
        lines = [*outcome.lines, words.SILENCE] if outcome.fell_silent else outcome.lines
        cause, remedy = words.explain(lines)
        where = f" {self.title}'s whole output is in {self._log}."
        return SetupError(f"{what}: {cause}", remedy + where)
