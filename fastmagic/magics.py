"""The front desk: reads a line, calls one verb, returns its result.

It knows no torch, no NVML and no HTML. Each magic is one method: its flags, and the call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import display
from traitlets import Bool, Enum, Unicode

from fastmagic import shell as shell_hooks
from fastmagic.errors import BadInput, LessonError, Stopped, make_short, make_whole
from fastmagic.lesson.last import LastLesson
from fastmagic.line import read_line
from fastmagic.progress import STYLES

MAY_BE_EMPTY = {"train_lesson1"}

INSTEAD = ("show", "export", "export_job")
"""What is done with a lesson instead of running it."""

RUN = ("name", "runs", "fresh", "time_limit", "cache_limit")
"""The flags of a run; they change nothing of what is trained."""

TEAM = ("gpus", "processes")
"""The flags that say in how many processes."""

IN_A_JOB = ("runs", "time_limit", "cache_limit")
"""Those that a job has too."""

OF_A_JOB = (
    "Leave it out. torchrun's --nproc-per-node says how many processes train; a job names its run "
    "by itself, and goes on with it until that folder is removed."
)
OF_A_SCRIPT = "Leave it out: a plain fastai script keeps no runs, and trains in one process."


def switch(flag: str, help_: str) -> argument:
    """Declare a flag without a value; where it is not given, nothing is asked for."""
    return argument(flag, action="store_true", default=None, help=help_)


@magics_class
class FastMagics(Magics):
    """The four magics, and the settings that `%config FastMagics` shows."""

    debug = Bool(False, help="Show whole tracebacks instead of short messages.").tag(config=True)
    runs = Unicode(
        "", help="The folder of the lesson's runs; empty for fastmagic-runs beside the notebook."
    ).tag(config=True)
    copies = Unicode(
        "", help="A folder in which runs are kept a second time; on Colab a mounted Drive's."
    ).tag(config=True)
    data = Unicode("", help="The folder that data sets go into; empty for fastai's own.").tag(
        config=True
    )
    recipe = Unicode(
        "", help="The recipe of a lesson that names none; empty for the data set's own."
    ).tag(config=True)
    progress = Enum(
        STYLES,
        "auto",
        help="How progress is shown: as fits the front end (auto), in one way or the other, or "
        "(quiet) the result alone.",
    ).tag(config=True)
    cache = Unicode(
        "", help="A folder, say on a mounted Drive, that keeps the archives %get_data downloads."
    ).tag(config=True)

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.once = shell_hooks.attach(shell, MAY_BE_EMPTY)
        parsers = {name: getattr(type(self), name).parser for name in self.magics["line"]}
        self.end_completion = shell_hooks.attach_completion(shell, parsers)
        self.last_data: str | None = None
        self.last_pattern = ""
        self.last_lesson = LastLesson()

    @magic_arguments()
    @argument("--no-probe", action="store_true", help="Do not run a small network on the GPU.")
    @argument("--require", action="store_true", help="Be an error where no GPU can be used.")
    @argument("--json", action="store_true", help="Print the report as JSON instead.")
    @argument(
        "--watch",
        nargs="?",
        type=float,
        const=1.0,
        metavar="SECONDS",
        help="Show the GPU live, again every SECONDS (1), until you press stop.",
    )
    @line_magic
    def gpu_check(self, line: str) -> Any:
        """Say whether training will run here, on which GPU, and if not, why and what to do.

        Returns a report: `report = %gpu_check`, then `report.verdict`.
        """

        def call(args: Any) -> Any:
            if args.watch is not None:
                return self._watch(args)
            from fastmagic.gpu.check import gpu_check

            return gpu_check(
                probe=not args.no_probe, require=args.require, json=args.json, show=self.progress
            )

        return self._serve(FastMagics.gpu_check, line, call)

    def _watch(self, args: Any) -> Any:
        if args.json or args.require or args.no_probe:
            raise BadInput(
                "--watch does not go with the other flags.", "Run %gpu_check --watch by itself."
            )
        from fastmagic.gpu.watch import watch

        return watch(args.watch, show=self.progress)

    @magic_arguments()
    @argument("--dry-run", action="store_true", help="Show the plan and change nothing.")
    @argument("--undo", action="store_true", help="Put back what the last set-up changed.")
    @argument("--torch", metavar="SPEC", help="The PyTorch to have: 2.13.0, cu126 or 2.13.0+cpu.")
    @argument("--fastai", metavar="SPEC", help="The fastai to have: 2.8.8 or >=2.8.8.")
    @argument("--upgrade", action="store_true", help="Take the newest fastai that fits.")
    @argument(
        "--allow-change",
        metavar="NAME",
        action="append",
        default=[],
        help="A protected package (numpy, torchvision, ...) that may change; may be repeated.",
    )
    @argument(
        "--torch-index",
        metavar="URL|registry",
        help="Where torch is installed from: the address of an index, or `registry` for pip's own.",
    )
    @argument("--index-url", metavar="URL", help="The package index; pip's own by default.")
    @argument("--find-links", metavar="DIR", help="A folder or page with more wheels.")
    @argument("--installer", default="pip", metavar="pip|uv", help="What installs (pip).")
    @argument("--restart", action="store_true", help="Restart the kernel where that is needed.")
    @argument("--json", action="store_true", help="Print the report as JSON instead.")
    @line_magic
    def fastai_setup(self, line: str) -> Any:
        """Plan, install and verify what fastai needs, without breaking what is there.

        Where fastai works already, it changes nothing and says so.
        """

        def call(args: Any) -> Any:
            from fastmagic.environment.setup import fastai_setup

            return fastai_setup(show=self.progress, **vars(args))

        return self._serve(FastMagics.fastai_setup, line, call)

    @magic_arguments()
    @argument("source", nargs="?", help="A data set's name, an address, an archive or a folder.")
    @argument("--list", action="store_true", help="Show the data sets that have a name.")
    @argument("-v", "--verbose", action="store_true", help="With --list: addresses and hashes too.")
    @argument("--dest", help="The folder to put the data set in; fastai's own by default.")
    @argument(
        "--cache",
        metavar="DIR",
        help="Keep what is downloaded in this folder, say on a mounted Drive, and take it from "
        "there on the next machine.",
    )
    @argument("--checksum", default="", metavar="ALG:HEX", help="What the archive must hash to.")
    @argument(
        "--label-pattern",
        default="",
        metavar="REGEX",
        help="How flat file names carry the class: a regular expression with one group.",
    )
    @line_magic
    def get_data(self, line: str) -> Any:
        """Download, verify, unpack, check and show a data set; nothing twice.

        Returns its folder: `path = %get_data dogscats`.
        """

        def call(args: Any) -> Any:
            from fastmagic.data import catalogue, get

            cache = args.cache or self.cache or None
            if args.list:
                return get.list_data(show=self.progress, verbose=args.verbose, cache=cache)
            if not args.source:
                raise BadInput("%get_data needs a data set.", catalogue.choices())
            path = get.get_data(
                args.source,
                dest=args.dest or self.data or None,
                checksum=args.checksum,
                label_pattern=args.label_pattern,
                cache=cache,
                show=self.progress,
            )
            named = args.source in catalogue.CATALOGUE and args.dest is None
            self.last_data = args.source if named else str(path)
            self.last_pattern = args.label_pattern
            return path

        return self._serve(FastMagics.get_data, line, call)

    @magic_arguments()
    @argument(
        "--data",
        metavar="NAME|PATH",
        help="The data set; by default the one that %%get_data gave last, else dogscats.",
    )
    @argument("--label-pattern", metavar="REGEX", help="How flat file names carry the class.")
    @argument(
        "--recipe", help="classic, modern, pets, quick or scratch; the data set's own by default."
    )
    @argument("--arch", help="The network: a torchvision name, or a timm one.")
    @argument("--weights", metavar="imagenet|none|FILE", help="What the network starts from.")
    @argument("--normalize", metavar="imagenet|half|MEAN,STD", help="How pixels are scaled.")
    @argument("--size", type=int, help="Side of the pictures in pixels.")
    @argument("--bs", type=int, help="Pictures in a batch.")
    @argument("--epochs", type=int, help="Epochs of the recipe's main fit.")
    @argument("--lr", type=float, help="Learning rate of the recipe's main fit.")
    @switch(
        "--progressive", "Let the first epochs of recipe classic see smaller pictures: quicker."
    )
    @argument("--seed", type=int, help="Where all randomness comes from (42).")
    @argument("--valid-pct", type=float, help="Share kept for validation (0.2).")
    @argument("--workers", type=int, help="Processes that load pictures.")
    @argument(
        "--precision",
        metavar="auto|fp32|fp16|bf16",
        help="What the network computes in; auto takes what is quicker on this machine.",
    )
    @switch("--freeze-bn", "Keep the batch norms of the network's body as ImageNet left them.")
    @switch(
        "--no-precompute",
        "Where the body precomputes, train on the whole frozen network, as plain fastai does.",
    )
    @switch("--no-cache", "Decode every photograph in every epoch, and keep no small copies.")
    @argument(
        "--cache-limit",
        type=float,
        metavar="GB",
        help="What the small copies of the pictures may take on disk (10).",
    )
    @switch("--no-gpu-cache", "Leave those copies out of the GPU's memory: processes load them.")
    @switch("--no-channels-last", "Leave the network's weights as torch lays them out.")
    @switch("--no-allocator", "Leave the C library's handling of memory as it is.")
    @argument(
        "--time-limit",
        type=float,
        metavar="MINUTES",
        help="Stop by itself after that time; the same cell goes on later.",
    )
    @argument("--gpus", metavar="N|all", help="Train on so many GPUs of this machine.")
    @argument("--processes", type=int, metavar="N", help="Train in so many processes on the CPU.")
    @argument("--name", help="The run's name.")
    @argument("--runs", help="The folder that runs are kept in.")
    @switch("--fresh", "Begin anew instead of going on.")
    @argument(
        "--continue",
        dest="go_on",
        action="store_true",
        help="Start from the learner that the lesson cell before left, not from a fresh one.",
    )
    @switch("--show", "Put the recipe's code into the next cell.")
    @argument(
        "--export",
        metavar="FILE",
        help="Write the lesson as a plain fastai script (.py) or notebook (.ipynb); train nothing.",
    )
    @argument(
        "--export-job",
        metavar="FILE",
        help="Write the lesson as a script for torchrun, on one machine or many; train nothing.",
    )
    @line_cell_magic
    def train_lesson1(self, line: str, cell: str | None = None) -> Any:
        """Run fast.ai's lesson 1: by a recipe, or by the fastai code in the cell.

        In the cell `path`, `dls` and `learn` are ready; afterwards `learn` and `dls` are in the
        notebook, plain fastai objects. Returns the report. Running a stopped cell again goes on.
        """

        def call(args: Any) -> Any:
            asked = vars(args)
            instead, run, team = (_taken(asked, names) for names in (INSTEAD, RUN, TEAM))
            after = self.last_lesson.whole() if asked.pop("go_on") else None
            data = self._data_of_lesson(asked.pop("data"), after)
            if data == self.last_data and not asked["label_pattern"] and after is None:
                asked["label_pattern"] = self.last_pattern or None
            if not (cell or "").strip() and not asked["recipe"]:
                asked["recipe"] = self.recipe or None
            if instead:
                return self._written(data, cell, after, asked, {**run, **team}, instead)
            return self._trained(data, cell, after, {**asked, **team}, run)

        return self._serve(FastMagics.train_lesson1, line, call)

    def _data_of_lesson(self, asked: str | None, after: Any) -> Any:
        """Give the data set that a cell is about: asked for, gone on with, got last, or None."""
        if after is None:
            return asked or self.last_data
        if asked and asked not in (after.data, str(after.path)):
            raise BadInput(
                f"--data {asked} does not go with --continue: the learner knows {after.data}.",
                "Leave --data out, or leave --continue out and begin anew.",
            )
        return after.data

    def _trained(self, data: Any, cell: str | None, after: Any, flags: Any, run: Any) -> Any:
        """Run a lesson."""
        from fastmagic.lesson.train import train_lesson1

        with self._lesson_kept(after is not None):
            result = train_lesson1(
                data,
                cell,
                runs_folder=run.pop("runs", None) or self.runs or None,
                copies=self.copies or None,
                after=after,
                cache=self.cache or None,
                dest=self.data or None,
                namespace=self.shell.user_ns,
                show=self.progress,
                first_line=2,
                transform=self.shell.transform_cell,
                display=display,
                **run,
                **flags,
            )
        self.once.file(result, self.last_lesson.keep(result))
        return result

    @contextlib.contextmanager
    def _lesson_kept(self, go_on: bool) -> Iterator[None]:
        """Let `--continue` go on from the same lesson when this cell does not finish.

        Not where this cell began with a learner of its own, and has put it in place of the other.
        """
        before = id(self.shell.user_ns.get("learn"))  # itself would stay in memory meanwhile
        try:
            yield
        except BaseException:
            if not go_on and id(self.shell.user_ns.get("learn")) != before:
                self.last_lesson.forget()
            raise

    def _written(
        self, data: Any, cell: str | None, after: Any, flags: Any, others: Any, instead: Any
    ) -> Any:
        """Show or export a lesson instead of running it."""
        from fastmagic.lesson.instead import export_job, export_lesson, show_lesson
        from fastmagic.lesson.order import DATA, Order

        _refuse_together(instead, after)
        order = Order(data or DATA, cell, flags, first_line=2, transform=self.shell.transform_cell)
        if "show" in instead:
            self.shell.set_next_input(show_lesson(order, others))
            return None
        names, shown = self.shell.user_ns, self.progress
        if "export_job" in instead:
            own = _taken(others, IN_A_JOB)
            _refuse_left(others, "--export-job", OF_A_JOB)
            return export_job(order, instead["export_job"], namespace=names, show=shown, **own)
        _refuse_left(others, "--export", OF_A_SCRIPT)
        return export_lesson(
            order,
            instead["export"],
            namespace=names,
            cache=self.cache or None,
            dest=self.data or None,
            show=shown,
        )

    def _serve(self, magic: Any, line: str, call: Callable[[Any], Any]) -> Any:
        """Read the line, make the call, and see that errors are shown as they should be."""
        try:
            args = read_line(magic.parser, line)
            if args is None:
                return None
            with self.once.serving():
                result = call(args)
        except BaseException as error:
            if self.debug:
                make_whole(error)
            elif type(error) is KeyboardInterrupt:  # while parts of ours are loaded, say
                raise Stopped("Stopped.", "Run the same line again.") from None
            elif isinstance(error, SyntaxError) and hasattr(error, "_render_traceback_"):
                raise _shown_short(error) from None
            raise
        if self.progress != "quiet":  # else IPython shows what is returned
            self.once.shown(result)
        return result


def _taken(asked: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Take these flags out of what was asked, and give those that were given."""
    found = {name: asked.pop(name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _refuse_together(instead: Iterable[str], after: Any) -> None:
    """Refuse two of those that write a lesson at once, and what an earlier cell has trained."""
    if len(list(instead)) > 1:
        raise BadInput(
            "Of --show, --export and --export-job, one at a time.", "Leave the others out."
        )
    if after is not None:
        raise BadInput(
            "--show, --export and --export-job do not go with --continue.",
            "What an earlier cell trained is not in this one: export them one by one.",
        )


def _refuse_left(left: Iterable[str], flag: str, next_step: str) -> None:
    """Refuse the flags that have no place in what is written."""
    names = [f"--{name.replace('_', '-')}" for name in left]
    if names:
        verb = "does" if len(names) == 1 else "do"
        raise BadInput(f"{' and '.join(names)} {verb} not go with {flag}.", next_step)


def _shown_short(error: Any) -> LessonError:
    """Stand in for a SyntaxError, of which IPython shows the whole way however short it is made."""
    lines = error._render_traceback_()
    short = LessonError("\n".join(lines))
    make_short(short, lines)
    return short


def load(shell: Any) -> None:
    """Give the shell the magics."""
    shell.register_magics(FastMagics(shell))


def unload(shell: Any) -> None:
    """Take everything of ours out of the shell; IPython itself has no call for it."""
    registry = shell.magics_manager
    magics = registry.registry.pop("FastMagics", None)
    if magics is None:
        return
    for table in registry.magics.values():
        for name in [n for n, f in table.items() if getattr(f, "__self__", None) is magics]:
            del table[name]
    if magics in shell.configurables:
        shell.configurables.remove(magics)
    shell_hooks.detach(shell, magics.once)
    magics.end_completion()
