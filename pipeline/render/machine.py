"""What rendering needs of a machine, for the processes that render: devices and weights.

Imported late, since it loads torch.
"""

from pipeline.nst.devices import find_devices as find_devices
from pipeline.nst.weights import load_weights as load_weights
