"""KServe on the double: what it promises, and where it does not keep it."""

from tests.doubles.kubernetes.kserve.format_server import FormatServer
from tests.doubles.kubernetes.kserve.installation import KServe
from tests.doubles.kubernetes.kserve.models import Behaviour, FakeModels
from tests.doubles.kubernetes.kserve.settings import KServeSettings

__all__ = ["Behaviour", "FakeModels", "FormatServer", "KServe", "KServeSettings"]
