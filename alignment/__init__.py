"""The science of neural-alignment: mouse cortex in, networks in, the comparison, and domain generalisation.

Functions and modules on arrays. ``alignment.brain`` reads and represents cortical responses, ``alignment.models``
runs networks, ``alignment.similarity`` compares two sets of arrays, ``alignment.transfer`` trains across domains.
"""

from neural_alignment import DataError, InputError, NeuralAlignmentError, __version__

__all__ = ["DataError", "InputError", "NeuralAlignmentError", "__version__"]
