"""The nouns of a scenario: what its file says, where a run of it stands, and the effects that it asks for.

Values only. See script.py for how a file becomes a Scenario, engine.py for what follows from what, and
core/scenario_runner.py for how an effect is carried out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sandbox.model import FaultEffect, FaultOn, Handset, HandsetState, Msisdn, MsisdnFormat, RunState, Shortcode
from sandbox.rules.matching import Difference, Match

START = "start"
"""The state in which every run begins."""


class Session(StrEnum):
    """How the session of a message relates to that of the message before, in the same run."""

    SAME = "same"
    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandsetSpec:
    """The handset that a scenario plays. `msisdn` None is any: the one that a run is started for, or that gets the
    first message that fits."""

    msisdn: Msisdn | None = None
    telco: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """What an MT message has to be like, in which state, and what is kept of it."""

    match: Match
    session: Session | None = None
    save: Mapping[str, str] = field(default_factory=dict)  # name -> group of the pattern, by number or name
    required_state: str | None = None
    new_state: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """The next message, within so many milliseconds of the step's turn; None waits for ever."""

    when: When
    within_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectNone:
    """No message for so many milliseconds; with a match, none that fits it."""

    within_ms: int
    match: Match = field(default_factory=Match)


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Texts from the handset. As a reply they carry the run's session and shortcode; started, they open a new one.

    `texts` may name what was saved, as `{name}`. Each is sent when the one before has gone; with `reversed_order` the
    webhooks come in the opposite order.
    """

    texts: tuple[str, ...]
    after_ms: int = 0
    to: Shortcode | None = None  # needed by a text that the handset starts
    starts: bool = False  # `send` rather than `reply`
    session_id: str | None = None
    duplicates: int = 0
    reversed_order: bool = False
    msisdn_format: MsisdnFormat | None = None
    telco: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeFault:
    on: FaultOn
    effect: FaultEffect
    times: int | None = 1
    match: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeHandset:
    """What is changed of a handset, by a step or by hand: it is switched on or off, moves to another operator, or gets
    a label, of which a step says nothing. None is what is not named, and stays as it is when the change is made."""

    state: HandsetState | None = None
    telco: str | None = None
    label: str | None = None  # empty takes it away

    def of(self, handset: Handset) -> Handset:
        """The handset with this change."""
        return replace(
            handset,
            state=handset.state if self.state is None else self.state,
            telco=handset.telco if self.telco is None else self.telco,
            label=handset.label if self.label is None else self.label,
        )


Step = Expect | ExpectNone | Send | MakeFault | ChangeHandset
Action = Send | MakeFault | ChangeHandset


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a persona does whenever a message fits, for ever. The first rule that fits is the one that counts."""

    when: When
    doing: tuple[Action, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    name: str
    description: str = ""
    handset: HandsetSpec = HandsetSpec()
    steps: tuple[Step, ...] = ()
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a run stands for one handset."""

    state: RunState = RunState.RUNNING
    step: int = 0  # index of the step whose turn it is; len(steps) when all are done
    named_state: str = START
    saved: Mapping[str, str] = field(default_factory=dict)
    session_id: str | None = None  # of the last message that fitted, or that the handset sent
    shortcode: Shortcode | None = None
    reason: str = ""  # of a failure, in words
    paused: str = ""  # why it reacts to nothing for now, in words; it goes on where it stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Effect: the handset sends this after a delay. Fields as in model.Texting."""

    text: str
    after_ms: int = 0
    to: Shortcode | None = None
    session_id: str | None = None
    new: bool = False
    duplicates: int = 0
    hold_ms: int = 0
    msisdn_format: MsisdnFormat | None = None
    telco: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimeout:
    """Effect: tell the engine (`window_passed`) when this time is over, if `step` still has its turn by then. One
    after the last step stands for the end: every text will have gone by then, and the run is finished."""

    step: int
    after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delayed:
    """Effect: a fault or a change of the handset, after a delay."""

    what: MakeFault | ChangeHandset
    after_ms: int = 0


Effect = Text | StepTimeout | Delayed


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """Why a message did not fit a step or a rule: the one that it came closest to."""

    about: str  # "step 3" or "rule 1"
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What follows: the cursor as it stands now, what to do, and why nothing fitted, if nothing did."""

    cursor: Cursor
    effects: tuple[Effect, ...] = ()
    miss: Miss | None = None
