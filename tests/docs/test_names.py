"""Every public name of the reference has a place here, and a test that shows it."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import logging
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "names.md"

# The names of the reference by what they belong to; "" are those of the package.
NAMES = {
    "": """
        Client ClientOpts Server ServerOpts MuxOpts ReplOpts ConsumerStates NetSourceStatesDef
        MsgEmpty ConsumerHandlers NewRpcClient NewRpcTest RpcGet RpcShutdown MsgSrvUpdate
        MsgSrvPayload MuxNewServerFn Mux ExceptionHandler ExceptionArgsPanic NetworkMachine am.Api
        expvar.Var fmt.Stringer NetMachConn NetMachInternal AddErr AddErrNetwork AddErrNoConn
        AddErrParams AddErrResp AddErrRpcStr BindServer BindServerMulti BindServerRpcReady
        Checksum GetClientId LogArgs MachRepl MachReplEnv NewClient NewMsgpackCodec NewMux
        NewNetworkMachine NewServer ParseArgs Pass PassRpc TrafficMeter A AddErrNetworkTimeout
        BindMux ErrInvalidParams ErrInvalidResp ErrRpc ErrNoAccess ErrNoConn ErrDestination
        ErrNetwork ErrNetworkTimeout ErrDelivery ErrSchema ErrStateMissing ErrCanceled
        ErrHandlerTimeout
    """,
    "Client": """
        ExceptionHandler Addr CallCount CallRetries CallRetryBackoff CallRetryDelay
        CallRetryTimeout CallTimeout ConnRetries ConnRetryBackoff ConnRetryDelay ConnRetryTimeout
        ConnTimeout Consumer DisconnCooldown DisconnTimeout HelloDelay LastMsgAt LogEnabled Mach
        Name NetMach ReconnectOn SyncAllMutations SyncAllowedStates SyncMutationFiltering
        SyncNoSchema SyncShallowClocks SyncSkippedStates Id Conn Opts Start Stop Sync Args
        IsPartial GetKind RemoteUpdate RemoteUpdateMutations RemoteSendingPayload
        RemoteSendPayload RemoteBye RemoteSchemaChange StartState StartEnd ConnectingEnter
        ConnectingState ConnectedState DisconnectingEnter DisconnectingState DisconnectedEnter
        DisconnectedState HandshakingState HandshakeDoneEnter HandshakeDoneState RetryingConnState
        RetryingCallEnter CallRetryFailedState ExceptionEnter ExceptionState HealthcheckState
        WorkerPayloadEnter WorkerPayloadState
    """,
    "Repl": """
        ListMachines NetMach
    """,
    "ClientOpts": """
        AllowedStates Consumer MutationFiltering NoSchema Parent SkippedStates SyncMutations
        SyncShallowClocks
    """,
    "MsgSrvUpdate": """
        Indexes Ticks QueueTick MachTick Checksum
    """,
    "MsgSrvPayload": """
        Name Data Destination Token Source SourceTx
    """,
    "Mux": """
        Source Start
    """,
    "MuxOpts": """
        Parent Args ArgsPrefix
    """,
    "ExceptionHandler": """
        ExceptionEnter ExceptionState
    """,
    "Server": """
        SendPayload Source Addr DeliveryTimeout Listener Conn LogEnabled CallCount PushInterval
        AllowId Args ArgsPrefix NoNewListener Start Stop ClientId GetKind
    """,
    "ServerOpts": """
        Parent PayloadState Args ArgsPrefix
    """,
    "ReplOpts": """
        AddrCh AddrDir Args ArgsPrefix ErrCh
    """,
    "NetworkMachine": """
        LogStackTrace ActiveStates Add Add1 Add1NS AddBreakpoint AddBreakpoint1 AddErr AddErrState
        AddNS Any Any1 BindHandlers BindTracer CanAdd CanAdd1 CanRemove CanRemove1 Clock Ctx
        DetachHandlers DetachTracer Dispose Err EvAdd EvAdd1 EvAddErr EvAddErrState EvRemove
        EvRemove1 EvToggle EvToggle1 Export Groups Has Has1 HasHandlers Id Index Index1 Inspect Is
        Is1 IsClock IsDisposed IsErr IsTime Log MachineTick MustParseStates NewStateCtx Not Not1
        OnDispose ParentId ParseStates QueueLen QueueTick RemoteId Remove Remove1 Schema SemLogger
        Set StateNames StateNamesMatch StatesVerified String StringAll Switch Tags Tick Time
        Toggle Toggle1 Tracers Transition WasClock WasTime When When1 WhenArgs WhenDisposed
        WhenErr WhenNot WhenNot1 WhenQuery WhenQueue WhenTicks WhenTime WhenTime1
    """,
}
"""What has to be in the table, and nothing else."""

_TARGET = re.compile(r"`((?:amzmq\.|logging:)[^`]*)`")
_CALL = re.compile(r"([\w.]+)(?:\((.*)\))?$")


class Row(NamedTuple):
    """A line of the table."""

    theirs: str
    ours: str
    test: str


def rows() -> list[Row]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    table = [Row(*row) for row in cells if len(row) == 3]
    assert table[0] == ("Theirs", "Ours", "Shown by")
    return table[2:]


def names() -> list[str]:
    return [f"{of}.{name}".lstrip(".") for of, listed in NAMES.items() for name in listed.split()]


def resolve(target: str) -> None:
    """Look a target up; what does not exist is an AssertionError that names it."""
    kind, _, logger = target.partition(":")
    if kind == "logging":
        importlib.import_module("amzmq.rpc")
        assert logger in logging.root.manager.loggerDict, f"no logger {logger}"
        return
    found = _CALL.match(target)
    assert found is not None, f"{target!r} is neither a name nor a call"
    value = look_up(found[1])
    for argument in filter(None, (found[2] or "").split(", ")):
        if argument.endswith("="):
            parameters = inspect.signature(value).parameters  # type: ignore[arg-type]
            assert argument[:-1] in parameters, f"{found[1]} has no argument {argument}"
        else:
            assert callable(value), f"{found[1]} cannot be called"


def look_up(path: str) -> object:
    """The object that a dotted path leads to; None for an attribute of instances."""
    parts = path.split(".")
    value: object = importlib.import_module(parts[0])
    for at, part in enumerate(parts[1:], start=1):
        if hasattr(value, part):
            value = getattr(value, part)
        elif inspect.ismodule(value):
            try:
                value = importlib.import_module(".".join(parts[: at + 1]))
            except ModuleNotFoundError:
                raise AssertionError(f"{path}: {value.__name__} has no {part}") from None
        else:
            assert inspect.isclass(value), f"{path}: no {part}"
            assert part in instance_attributes(value), f"{path}: {value.__name__} has no {part}"
            return None
    return value


def instance_attributes(cls: type) -> frozenset[str]:
    """What the methods of a class and of its bases assign to ``self``."""
    found: set[str] = set()
    for one in cls.__mro__[:-1]:
        found.update(getattr(one, "__annotations__", ()))
        tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
        found.update(
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        )
    return frozenset(found)


@functools.cache
def named_tests(path: Path) -> frozenset[str]:
    """The names of the tests of a file, those of classes as ``Class::test``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            functions = (
                f for f in node.body if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
            )
            found.update(f"{node.name}::{function.name}" for function in functions)
    return frozenset(found)


def test_every_name_is_in_the_table_once_and_no_other() -> None:
    assert sorted(row.theirs for row in rows()) == sorted(names())


def test_the_list_is_as_long_as_the_reference_says() -> None:
    assert len(NAMES["NetworkMachine"].split()) == 90 + len(["LogStackTrace"])
    assert len(names()) == len(set(names()))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.theirs)
def test_what_a_name_is_here_exists(row: Row) -> None:
    targets = _TARGET.findall(row.ours)
    assert targets, f"{row.theirs}: nothing of ours is named in {row.ours!r}"
    for target in targets:
        resolve(target)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.theirs)
def test_what_shows_a_name_is_a_test(row: Row) -> None:
    path, _, name = row.test.strip("`").partition("::")
    assert (ROOT / path).is_file(), f"{row.theirs}: no file {path}"
    assert name.rpartition("::")[2].startswith("test_"), f"{row.theirs}: {name!r} is no test"
    assert name in named_tests(ROOT / path), f"{row.theirs}: no {name} in {path}"


@pytest.mark.parametrize(
    "wrong",
    [
        "amzmq.Nothing",
        "amzmq.nothing.at_all",
        "amzmq.Client.nothing",
        "amzmq.Client(nothing=)",
        "amzmq.Client.start(nothing=)",
        "amzmq.Machine.id(now)",
        "logging:amzmq.nothing",
    ],
)
def test_what_does_not_exist_is_found_out(wrong: str) -> None:
    with pytest.raises(AssertionError):
        resolve(wrong)
