"""Statistics of fault campaigns: intervals that may be looked at any time, sample sizes, paired tests.

What a campaign needs is named here; `docs/campaign_statistics.md` says what each guarantees.
"""

from potluck.campaign.statistics.binary import Binary
from potluck.campaign.statistics.bounded import Bounded
from potluck.campaign.statistics.fixed import bootstrap, clopper_pearson, leveugle, wilson
from potluck.campaign.statistics.forced import Curve, FaultCount
from potluck.campaign.statistics.interval import LEVEL, Interval
from potluck.campaign.statistics.loss import clipped_change, perplexity_ratio
from potluck.campaign.statistics.paired import holm, mcnemar, paired_bootstrap, sign_flip
from potluck.campaign.statistics.pooled import Pooled
from potluck.campaign.statistics.stopping import Stop
from potluck.campaign.statistics.strata import Stratified

__all__ = [
    "LEVEL",
    "Binary",
    "Bounded",
    "Curve",
    "FaultCount",
    "Interval",
    "Pooled",
    "Stop",
    "Stratified",
    "bootstrap",
    "clipped_change",
    "clopper_pearson",
    "holm",
    "leveugle",
    "mcnemar",
    "paired_bootstrap",
    "perplexity_ratio",
    "sign_flip",
    "wilson",
]
