"""All that is private in TensorFlow and Keras and used here, each with the public way that is missing.

Nothing private stands in any other room, so this is what has to be tried against a new TensorFlow or Keras. Hooks and
tools may import it, too: from here, whatever file it stands in. Only what classes override to be saved is defined in
these: `_serialize_to_tensors`, `_restore_from_tensors` and `_trackable_children` of `Trackable`.

`objects.py` is about Keras' objects, `functions.py` about graphs and how they are called, `operations.py` about what is
called without one, `saving.py` about what a checkpoint has, `stages.py` and `remaking.py` about datasets, `clusters.py`
about several processes, `tracebacks.py` about errors; `exchanged.py` has what takes the place of something of theirs,
`draws.py` that of what draws in a graph, and `place.py` how.
"""

from loop.tf_internals.clusters import *
from loop.tf_internals.draws import *
from loop.tf_internals.exchanged import *
from loop.tf_internals.functions import *
from loop.tf_internals.objects import *
from loop.tf_internals.operations import *
from loop.tf_internals.place import *
from loop.tf_internals.remaking import *
from loop.tf_internals.saving import *
from loop.tf_internals.stages import *
from loop.tf_internals.tracebacks import *
