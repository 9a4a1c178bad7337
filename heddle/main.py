"""The heddle command: its verbs and their options; what a verb does is in the module of its name."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.exceptions import TyperException

from heddle.options import Candidates, Capacity, DemandsFile, FabricSource, MaxHops, Ranks, Window, names
from topologies.errors import HeddleError, InputError

EXIT_FAILURE, EXIT_BAD_INPUT, EXIT_INFEASIBLE, EXIT_FELL_SHORT, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

app = typer.Typer(
    help="A network controller for AI-training clusters: every flow on the path the solver chose, with proof.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
jobs_app = typer.Typer(help="The daemon's jobs: list them, or submit, show and delete one.")
app.add_typer(jobs_app, name="jobs", invoke_without_command=True)
links_app = typer.Typer(help="The directed links: list them, or keep cables clear for work on them.")
app.add_typer(links_app, name="links", invoke_without_command=True)
verify_app = typer.Typer(help="Check proofs, independently of what made them.")
app.add_typer(verify_app, name="verify")

Api = Annotated[
    str | None,
    typer.Option(
        "--api", metavar="ADDRESS:PORT", envvar="HEDDLE_API", help="The daemon's API (default 127.0.0.1:8080)"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", envvar="HEDDLE_JSON", help="Print JSON, and nothing else.")]

LinkNames = Annotated[
    list[str], typer.Argument(metavar="LINK…", help="NODE:PORT, as in s1:3; either end of a cable stands for both.")
]
JobName = Annotated[str, typer.Argument(metavar="NAME", help="The job's name.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are one sentence on standard error."""
    try:
        result = typer.main.get_command(app).main(
            args=None if arguments is None else list(arguments), prog_name="heddle", standalone_mode=False
        )
        sys.stdout.flush()
    except TyperException as error:
        return _fail(f"{error.format_message().rstrip('.')}; see 'heddle --help'", EXIT_BAD_INPUT)
    except HeddleError as error:
        return _fail(str(error), _exit_code(error))
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has what it wanted ('heddle links | head'); the interpreter must not flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    return result if isinstance(result, int) else 0


def _fail(sentence: str, code: int) -> int:
    print(f"heddle: {sentence}", file=sys.stderr)
    return code


def _exit_code(error: HeddleError) -> int:
    if isinstance(error, InputError):
        return EXIT_BAD_INPUT
    from dataplane.matching import RuleError
    from dataplane.network import VerificationError
    from solver.errors import CertificateError, Infeasible

    if isinstance(error, CertificateError | VerificationError | RuleError):
        return EXIT_FELL_SHORT
    return EXIT_INFEASIBLE if isinstance(error, Infeasible) else EXIT_FAILURE


def _print_version(wanted: bool) -> None:
    if wanted:
        from controller.version import version

        print(f"heddle {version()}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def run(
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", metavar="FILE", envvar="HEDDLE_CONFIG", help="Configuration file (YAML)."),
    ] = None,
    openflow: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS:PORT", envvar="HEDDLE_OPENFLOW", help="Where switches connect (default 127.0.0.1:6653)"
        ),
    ] = None,
    api: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS:PORT", envvar="HEDDLE_API", help="Where the API listens (default 127.0.0.1:8080)"
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", envvar="HEDDLE_STATE", help="Directory of the daemon's state.")
    ] = None,
    fabric: Annotated[
        Path | None, typer.Option(metavar="FILE", envvar="HEDDLE_FABRIC", help="Declared fabric: names, capacities.")
    ] = None,
    tls_certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar="HEDDLE_TLS_CERTIFICATE", help="TLS to switches: our certificate (PEM)."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", envvar="HEDDLE_TLS_KEY", help="Its private key (PEM).")
    ] = None,
    tls_authority: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", envvar="HEDDLE_TLS_AUTHORITY", help="Authority that signs the switches' certificates (PEM)."
        ),
    ] = None,
    routing: Annotated[
        Literal["ecmp", "shortest"] | None,
        typer.Option(envvar="HEDDLE_ROUTING", help="Routing of traffic that no plan covers (default ecmp)"),
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(envvar="HEDDLE_LOG_LEVEL", help="What to log.")
    ] = "info",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", envvar="HEDDLE_JSON", help="Print one line of JSON once it listens: its addresses, state and pid."
        ),
    ] = False,
) -> int:
    """Run the daemon."""
    from heddle.run import run_daemon_with

    flags = {
        "openflow": openflow,
        "api": api,
        "state_dir": _text(state),
        "fabric": _text(fabric),
        "openflow_tls.certificate": _text(tls_certificate),
        "openflow_tls.key": _text(tls_key),
        "openflow_tls.authority": _text(tls_authority),
        "routing.default": routing,
    }
    return run_daemon_with(config, flags, log_level, as_json=as_json)


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None


@app.command()
def status(api: Api = None, as_json: AsJson = False) -> None:
    """Say how the daemon is and what it carries."""
    from heddle.status import show_status

    show_status(api, as_json=as_json)


@app.command()
def switches(api: Api = None, as_json: AsJson = False) -> None:
    """List the switches."""
    from heddle.switches import show_switches

    show_switches(api, as_json=as_json)


@app.command()
def rules(
    switch: Annotated[str | None, typer.Argument(metavar="[SWITCH]", help="Only this one.")] = None,
    api: Api = None,
    as_json: AsJson = False,
) -> None:
    """Show what is in the switches' tables."""
    from heddle.rules import show_rules

    show_rules(api, switch, as_json=as_json)


@links_app.callback()
def links(context: typer.Context, api: Api = None, as_json: AsJson = False) -> None:
    """The directed links: list them, or keep cables clear for work on them."""
    context.obj = (api, as_json)
    if context.invoked_subcommand is None:
        from heddle.links import show_links

        show_links(api, as_json=as_json)


@links_app.command("cordon")
def cordon_links(context: typer.Context, names: LinkNames, api: Api = None, as_json: AsJson = False) -> None:
    """Move traffic off cables and keep them clear; they stay up and watched."""
    from heddle.links import change_cordons

    change_cordons(api or context.obj[0], cordon=names, as_json=as_json or context.obj[1])


@links_app.command("uncordon")
def uncordon_links(context: typer.Context, names: LinkNames, api: Api = None, as_json: AsJson = False) -> None:
    """Let cables be used again; nothing moves back for that alone."""
    from heddle.links import change_cordons

    change_cordons(api or context.obj[0], uncordon=names, as_json=as_json or context.obj[1])


@app.command()
def hosts(api: Api = None, as_json: AsJson = False) -> None:
    """List the hosts and where they are."""
    from heddle.hosts import show_hosts

    show_hosts(api, as_json=as_json)


@app.command()
def events(
    after: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="ID", envvar="HEDDLE_AFTER", help="All events with higher ids (default the last 50)."
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND", envvar="HEDDLE_KIND", help="Only this kind, or such: 'channel-*'; may be repeated."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", envvar="HEDDLE_FOLLOW", help="Go on with those to come, until Ctrl-C.")
    ] = False,
    api: Api = None,
    as_json: AsJson = False,
) -> None:
    """Tell what happened, newest last."""
    from heddle.events import show_events

    show_events(api, after=after, kinds=tuple(kind or ()), follow=follow, as_json=as_json)


@jobs_app.callback()
def jobs(context: typer.Context, api: Api = None, as_json: AsJson = False) -> None:
    """The daemon's jobs: list them, or submit, show and delete one."""
    context.obj = (api, as_json)
    if context.invoked_subcommand is None:
        from heddle.jobs import list_jobs

        list_jobs(api, as_json=as_json)


@jobs_app.command("submit")
def submit_job(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The job, YAML or JSON.")],
    api: Api = None,
    as_json: AsJson = False,
) -> None:
    """Give the daemon a job."""
    from heddle.jobs import submit_job as submit

    submit(api or context.obj[0], file, as_json=as_json or context.obj[1])


@jobs_app.command("show")
def show_job(context: typer.Context, name: JobName, api: Api = None, as_json: AsJson = False) -> None:
    """Show a job and the paths planned for it."""
    from heddle.jobs import show_job as show

    show(api or context.obj[0], name, as_json=as_json or context.obj[1])


@jobs_app.command("delete")
def delete_job(context: typer.Context, name: JobName, api: Api = None, as_json: AsJson = False) -> None:
    """Take a job and its rules away."""
    from heddle.jobs import delete_job as delete

    delete(api or context.obj[0], name, as_json=as_json or context.obj[1])


@app.command()
def solve(
    fabric: FabricSource,
    demands: DemandsFile,
    objective: Annotated[
        Literal["min-delay", "min-max-utilisation", "max-concurrent-flow", "max-min-fair", "min-queueing-delay"],
        typer.Option(envvar="HEDDLE_OBJECTIVE", help="What the routing is to be best at."),
    ] = "min-delay",
    single_path: Annotated[
        bool, typer.Option("--single-path", envvar="HEDDLE_SINGLE_PATH", help="Give every demand one path.")
    ] = False,
    engine: Annotated[
        str, typer.Option(envvar="HEDDLE_ENGINE", help="What computes it: auto, an engine, or pulp:SOLVER.")
    ] = "auto",
    time_limit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", envvar="HEDDLE_TIME_LIMIT", help="Stop then with the best so far."),
    ] = None,
    max_utilisation: Annotated[
        float, typer.Option(envvar="HEDDLE_MAX_UTILISATION", help="Share of each capacity that may be used.")
    ] = 1.0,
    max_hops: MaxHops = None,
    candidates: Candidates = None,
    on_overload: Annotated[
        Literal["refuse", "fair"],
        typer.Option(envvar="HEDDLE_ON_OVERLOAD", help="Where not all fits: exit with 3, or carry fair rates."),
    ] = "refuse",
    gap: Annotated[float, typer.Option(envvar="HEDDLE_GAP", help="With which an approximate engine may stop.")] = 0.01,
    seed: Annotated[int, typer.Option(min=0, envvar="HEDDLE_SEED", help="Of the searches.")] = 0,
    paths: Annotated[
        bool, typer.Option("--paths", envvar="HEDDLE_PATHS", help="Print all paths with --json, not 10,000 at most.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", envvar="HEDDLE_OUTPUT", help="Write the routing (.json)."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar="HEDDLE_PLOT", help="Draw the routing (.png, .svg or .pdf)."),
    ] = None,
    capacity: Capacity = None,
    window: Window = None,
    ranks: Ranks = None,
    as_json: AsJson = False,
) -> None:
    """Route demands optimally on a fabric, with proof."""
    from heddle.solve import Given, solve_demands

    solve_demands(
        Given(fabric, demands, capacity, window, names(ranks), candidates, max_hops),
        objective=objective,
        single_path=single_path,
        engine=engine,
        time_limit_s=time_limit,
        max_utilisation=max_utilisation,
        on_overload=on_overload,
        gap=gap,
        seed=seed,
        every_path=paths,
        output=output,
        plot=plot,
        as_json=as_json,
    )


@verify_app.callback()
def verify(context: typer.Context, as_json: AsJson = False) -> None:
    """Check proofs, independently of what made them."""
    context.obj = as_json


@verify_app.command("routing")
def verify_routing(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The routing, as 'heddle solve -o' writes it.")],
    fabric: FabricSource,
    demands: DemandsFile,
    candidates: Candidates = None,
    max_hops: MaxHops = None,
    capacity: Capacity = None,
    window: Window = None,
    ranks: Ranks = None,
    as_json: AsJson = False,
) -> None:
    """Check what a routing does, and what its prices prove."""
    from heddle.solve import Given
    from heddle.verify import verify_routing as verify

    given = Given(fabric, demands, capacity, window, names(ranks), candidates, max_hops)
    verify(file, given, as_json=as_json or context.obj)


@verify_app.command("rules")
def verify_rules(
    context: typer.Context,
    rules: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="HEDDLE_RULES",
            help="The rules, as 'heddle rules --json' writes them (default those of the running daemon).",
        ),
    ] = None,
    fabric: Annotated[
        str | None,
        typer.Option(metavar="FABRIC", envvar="HEDDLE_FABRIC", help="With --rules: the fabric that they are for."),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar="HEDDLE_PLAN", help="With --rules: paths that pairs have to take."),
    ] = None,
    failures: Annotated[
        bool,
        typer.Option("--failures", envvar="HEDDLE_FAILURES", help="Also while each cable between switches is down."),
    ] = False,
    api: Api = None,
    as_json: AsJson = False,
) -> None:
    """Prove from the switches' rules that packets arrive."""
    from heddle.verify_rules import verify_daemon, verify_files

    as_json = as_json or context.obj
    if rules is not None:
        verify_files(rules, fabric, plan, failures=failures, as_json=as_json)
    elif plan is not None:
        raise InputError("--plan says which paths the rules of a file have to give; name that with --rules")
    else:
        verify_daemon(api, failures=failures, as_json=as_json)


@app.command()
def emulate(
    scenario: Annotated[str, typer.Argument(metavar="[SCENARIO]", help="What to run.")] = "all-reduce",
    k: Annotated[int, typer.Option("--k", envvar="HEDDLE_K", help="Ports of each switch of the fat-tree.")] = 4,
    seed: Annotated[int, typer.Option(envvar="HEDDLE_SEED", help="Scatters the ranks over the hosts; 0 or more.")] = 1,
    routing: Annotated[
        Literal["all", "optimised", "ecmp", "shortest"],
        typer.Option(envvar="HEDDLE_EMULATE_ROUTING", help="Routing to run, or all three in turn."),
    ] = "all",
    sizes: Annotated[
        str | None,
        typer.Option(metavar="BYTES,…", envvar="HEDDLE_SIZES", help="Message sizes (default 1048576,2097152,4194304)"),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", envvar="HEDDLE_REPORT", help="Where the report goes (default report)"),
    ] = None,
    as_json: AsJson = False,
    cleanup: Annotated[
        bool,
        typer.Option("--cleanup", envvar="HEDDLE_CLEANUP", help="Remove what a crashed run left, and nothing else."),
    ] = False,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="A-B",
            envvar="HEDDLE_SEEDS",
            help="Compare optimised with ECMP for each seed from A to B, at the largest of the sizes.",
        ),
    ] = None,
) -> int:
    """Run a real all-reduce on an emulated cluster (root)."""
    from heddle.emulate import run_emulation

    return run_emulation(
        scenario=scenario,
        k=k,
        seed=seed,
        routing=routing,
        sizes=sizes,
        report=report,
        as_json=as_json,
        cleanup=cleanup,
        seeds=seeds,
    )


if __name__ == "__main__":
    sys.exit(main())
