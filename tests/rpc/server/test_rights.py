"""What a policy lets each user do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amzmq.machine.resolver import MutationType
from amzmq.rpc.server.rights import (
    EVERYTHING,
    NOTHING,
    READ_ONLY,
    MachineRights,
    Policy,
    PolicyInvalid,
    Rights,
    mask_of,
)

NAMES = ("Open", "Closed", "ClosedHard", "Alarm", "Exception")
ADD, REMOVE, SET, EVAL = MutationType
ALL = range(len(NAMES))


def rights_of(table: dict[str, object], machine_id: str = "door") -> MachineRights:
    return Policy({"user": table}).of("user").on(machine_id, NAMES)


def test_a_named_user_reads_everything_and_changes_nothing() -> None:
    rights = rights_of({})
    assert Policy({"user": {}}).of("user") == READ_ONLY
    assert rights.visible(NAMES) == NAMES
    assert rights.payload
    assert rights.schema
    assert not rights.admin
    assert not rights.nothing
    assert not any(rights.may_mutate(kind, mask_of([at])) for kind in MutationType for at in ALL)
    assert not rights.may_mutate(ADD, 0)


def test_an_unknown_user_gets_nothing() -> None:
    policy = Policy({"user": {"mutate": True}})
    assert policy.of("other") == NOTHING
    rights = policy.of("other").on("door", NAMES)
    assert rights.nothing
    assert rights.visible(NAMES) == ()
    assert not any(rights.may_mutate(kind, mask_of(ALL)) for kind in MutationType)
    assert [rights.payload, rights.schema, rights.admin] == [False] * 3


def test_a_star_is_for_users_without_a_table_and_not_for_nobody() -> None:
    policy = Policy({"*": {"read": ["Open"]}, "boss": {"read": False, "admin": True}})
    assert policy.of("anybody").on("door", NAMES).visible(NAMES) == ("Open",)
    assert policy.of("boss").on("door", NAMES).visible(NAMES) == ()
    assert policy.of("") == NOTHING
    # A user of that very name must not be taken for the pattern.
    assert policy.of("*") == NOTHING


def test_globs_name_states_and_upper_and_lower_case_differ() -> None:
    rights = rights_of({"read": ["Closed*", "alarm"], "mutate": ["Open", "?larm"]})
    assert rights.visible(NAMES) == ("Closed", "ClosedHard")
    assert [at for at in ALL if rights.may_mutate(ADD, 1 << at)] == [0, 3]


def test_every_called_state_needs_the_right() -> None:
    rights = rights_of({"mutate": ["Open", "Alarm"]})
    assert rights.may_mutate(ADD, mask_of([0, 3]))
    assert not rights.may_mutate(ADD, mask_of([0, 1]))


def test_only_the_named_kinds_are_allowed() -> None:
    rights = rights_of({"mutate": True, "kinds": ["remove"]})
    assert [kind for kind in MutationType if rights.may_mutate(kind, 1)] == [REMOVE]


def test_an_eval_is_never_allowed_nor_a_kind_that_does_not_exist() -> None:
    rights = EVERYTHING.on("door", NAMES)
    assert [kind for kind in range(-1, 9) if rights.may_mutate(kind, 1)] == [ADD, REMOVE, SET]


def test_set_needs_the_right_to_every_state_as_it_ends_those_not_called() -> None:
    assert not rights_of({"mutate": ["Open", "Closed*", "Alarm"]}).may_mutate(SET, 1)
    assert rights_of({"mutate": ["*"]}).may_mutate(SET, 1)


def test_a_machine_that_is_not_named_is_as_if_it_were_not_there() -> None:
    table: dict[str, object] = {"machines": ["gate", "door-?"], "mutate": True, "admin": True}
    assert rights_of(table, "door").nothing
    assert not rights_of(table, "door").admin
    assert not rights_of(table, "door").payload
    assert rights_of(table, "door-1").may_mutate(ADD, 1)
    assert rights_of(table, "gate").admin


def test_an_index_beyond_the_schema_is_not_allowed() -> None:
    rights = EVERYTHING.on("door", NAMES)
    assert not any(rights.may_mutate(kind, mask_of([len(NAMES)])) for kind in MutationType)


@given(
    st.lists(st.sampled_from(NAMES), unique=True),
    st.sets(st.sampled_from(sorted(_kind.name.lower() for _kind in (ADD, REMOVE, SET)))),
    st.sampled_from([ADD, REMOVE, SET, EVAL]),
    st.sets(st.sampled_from(list(ALL)), min_size=1),
)
def test_masks_say_what_the_lists_say(
    mutable: list[str], kinds: set[str], kind: MutationType, called: set[int]
) -> None:
    rights = rights_of({"mutate": mutable, "kinds": sorted(kinds)})
    touched = set(NAMES) if kind is SET else {NAMES[at] for at in called}
    allowed = str(kind) in kinds and bool(mutable) and touched <= set(mutable)
    assert rights.may_mutate(kind, mask_of(called)) is allowed


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("user = 1", "user: 1 is no table"),
        ("[user]\nmutat = true", "user.mutat: unknown; there are machines read mutate"),
        ("[user]\nread = 1", "user.read: 1, but true, false, or a list"),
        ("[user]\nread = 'A'", "user.read: 'A', but true, false, or a list"),
        ("[user]\nmutate = ['A', 2]", r"user.mutate\[1\]: 2 is no text"),
        ("[user]\nmachines = ['']", r"user.machines\[0\]: '' is no text"),
        ("[user]\nkinds = ['add', 'ad']", r"user.kinds\[1\]: 'ad' is none of add remove set"),
        ("[user]\nkinds = true", "user.kinds: True, but a list of add remove set"),
        ("[user]\nadmin = 'yes'", "user.admin: 'yes', but true or false"),
        ("[user]\npayload = 1", "user.payload: 1, but true or false"),
        ("[user]\n[user.x]\ny = 1", "user.x: unknown"),
        ("['']", "'': the name of a user"),
        ("[user", "no TOML"),
        ("\x00", "no TOML"),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_place(
    tmp_path: Path, text: str, where: str
) -> None:
    path = tmp_path / "rights.toml"
    path.write_text(text)
    with pytest.raises(PolicyInvalid, match=rf"rights\.toml: {where}"):
        Policy.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid, match=r"rights\.toml: No such file"):
        Policy.load(tmp_path / "rights.toml")


def test_the_example_of_the_module_is_a_policy(tmp_path: Path) -> None:
    from amzmq.rpc.server import rights

    assert rights.__doc__
    example = [line[4:] for line in rights.__doc__.splitlines() if line.startswith("    ")]
    path = tmp_path / "rights.toml"
    path.write_text("\n".join(example))
    policy = Policy.load(path)
    assert policy.of("operator") == Rights(
        machines=("door*",), mutate=("Open", "Close*"), kinds=frozenset({ADD, REMOVE})
    )
    assert policy.of("reader") == READ_ONLY
    assert policy.of("else") == Rights(read=("Ready",))


def test_a_changed_file_counts_after_a_reload(tmp_path: Path) -> None:
    path = tmp_path / "rights.toml"
    path.write_text("[user]")
    policy = Policy.load(path)
    assert not policy.reload()
    path.write_text("[user]\nmutate = true")
    assert policy.of("user") == READ_ONLY
    assert policy.reload()
    assert policy.of("user").mutate == ("*",)
    path.write_text("[user]\nmutate = true  # said otherwise, meant the same")
    assert not policy.reload()


def test_a_bad_change_is_told_once_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rights.toml"
    path.write_text("[user]\nmutate = true")
    policy = Policy.load(path)
    path.write_text("[user")
    with pytest.raises(PolicyInvalid, match="no TOML"):
        policy.reload()
    assert not policy.reload()
    path.unlink()
    with pytest.raises(PolicyInvalid, match="No such file"):
        policy.reload()
    assert policy.of("user").mutate == ("*",)
    path.write_text("")
    assert policy.reload()
    assert policy.of("user") == NOTHING


def test_a_policy_of_a_mapping_has_nothing_to_reload() -> None:
    assert not Policy({"user": {"mutate": ("A",)}}).reload()
