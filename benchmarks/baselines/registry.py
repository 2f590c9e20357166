"""All baselines, by the names under which results are kept."""

from baselines.counting import Frequency, Markov
from baselines.midas import MidasR
from baselines.pitman_yor import PitmanYorFisher
from baselines.protocol import Baseline
from baselines.river_models import HalfSpaceForest, OneClassMachine

BASELINES: dict[str, type[Baseline]] = {
    "frequency": Frequency,
    "markov": Markov,
    "pitman-yor fisher": PitmanYorFisher,
    "midas-r": MidasR,
    "river half-space trees": HalfSpaceForest,
    "river one-class svm": OneClassMachine,
}
"""River has no isolation forest; half-space trees are its nearest kin."""
