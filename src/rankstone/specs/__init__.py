"""Definitions as values: TOML -> frozen, strict specs with digests.

`TaskSpec`: a table of `benchmarks/*.toml`; `SuiteSpec`: tasks that belong together
(`benchmarks/suites.toml`); `MethodSpec`: one of `runners/**/*.toml`. Unknown keys and wrong types
are refused with the file and the key.
"""

from __future__ import annotations

from rankstone.specs.families import Family as Family
from rankstone.specs.families import SuiteSpec as SuiteSpec
from rankstone.specs.families import load_family as load_family
from rankstone.specs.families import load_suites as load_suites
from rankstone.specs.methods import DEFAULT as DEFAULT
from rankstone.specs.methods import EVERY as EVERY
from rankstone.specs.methods import INSTRUCTION as INSTRUCTION
from rankstone.specs.methods import MODELS as MODELS
from rankstone.specs.methods import OWN as OWN
from rankstone.specs.methods import AdapterSpec as AdapterSpec
from rankstone.specs.methods import Archive as Archive
from rankstone.specs.methods import Instruction as Instruction
from rankstone.specs.methods import MethodSpec as MethodSpec
from rankstone.specs.methods import ModelSpec as ModelSpec
from rankstone.specs.methods import Recipe as Recipe
from rankstone.specs.methods import ScorerSpec as ScorerSpec
from rankstone.specs.tasks import DEFAULT_MEASURES as DEFAULT_MEASURES
from rankstone.specs.tasks import Counts as Counts
from rankstone.specs.tasks import MeasureName as MeasureName
from rankstone.specs.tasks import TaskSpec as TaskSpec
from rankstone.strict import canonical_digest as canonical_digest
