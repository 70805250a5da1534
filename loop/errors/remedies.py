"""What to write instead of what could not be resumed exactly. Each is tried by a test, literally.

None may change the statistics of training: what was another value for each epoch, element and draw still is.
"""

REPLAY = "StreamData(..., resume='replay')"
RANDOM_IN_DATA = (
    "Draw with a seed made of the epoch and of the number of the element: StreamData(lambda epoch: dataset.enumerate()"
    ".map(lambda i, x: ...)) with tf.random.stateless_normal(shape, seed=[epoch, i]) in it, or its like, such as "
    "tf.image.stateless_random_brightness. For more draws in one element: tf.random.split([epoch, i], 2)[0], and [1]."
)
NOT_IN_DATA = f"Use it in the step. Or, if it is for random numbers: {RANDOM_IN_DATA}"
RANDOM_IN_STEP = (
    "Use tf.random.normal(shape) or its like for all rows at once, outside of tf.vectorized_map and of a dataset, and "
    "with no seed= that is given in another function, too. Or keras.random.normal(shape, seed=seeds), with seeds = "
    "keras.random.SeedGenerator(1) made outside of the step and put into state: Loop(..., state={'seeds': seeds}). "
    "Or generator.normal(shape) with generator = tf.random.Generator.from_seed(1), likewise."
)
SEED_IN_STEP = (
    "Give it another one in each step: shuffle(1000, seed=keras.random.randint([], 0, 2**31 - 1, 'int64', seeds)), "
    "with seeds = keras.random.SeedGenerator(1) made outside of the step and put into state."
)
PYTHON_IN_STEP = (
    "Use TensorFlow operations, or a hook for what need not be in the step. Python's state is not saved; "
    "tf.numpy_function(..., stateful=False) says that there is none."
)
PYTHON_IN_DATA = f"Use {REPLAY}, which reads the epoch again on resuming; or ArrayData, or TensorFlow operations."
ITERATED_IN_STEP = (
    "Use next(iterator) with iterator = iter(dataset) made outside of the step and put into state; or make the dataset "
    "in the step, if it does not shuffle."
)
QUEUE = "A queue cannot be saved. Keep what is in it in a tf.Variable, and put that into state."
STATE = (
    "Add what it belongs to: Loop(..., state={'model': ..., 'optimizer': ..., ...}); itself, if it is a tf.Variable or "
    "SeedGenerator that Keras does not find there; metrics that the step updates: Step(function, metrics={...}). With "
    "supervised(...), a metric that a layer updates itself is made in the __init__ of the layer."
)
MADE_IN_STEP = f"Make it outside of the step. {STATE}"
CLOCK = "Measure time in a hook."
READ_IN_STEP = "Read it in the step."
READ_OR_REPLAY = f"Read it in the step; or, if nobody changes it, use {REPLAY}."
TABLE = "Use tf.lookup.StaticHashTable, or the step."
OF_EPOCH = (
    "Let what it makes depend on the epoch alone, and shuffle in it: shuffle(1000, seed=epoch), "
    "numpy.random.default_rng(epoch). Or call keras.utils.set_random_seed(1) first: then what it draws from "
    "numpy.random and random does."
)
BY_VARIABLE = (
    "Let it go by the epoch alone; or by a tf.Variable, in state or made by __init__ of a hook, that is set in "
    "on_epoch_end and nowhere else: that has its value again before the function is called. Labels that a network "
    "gives go into such a variable, too."
)
SEED_FIRST = "Call keras.utils.set_random_seed(1) first, before anything is made."
SEED_OR_FIRST = f"Give it a seed, as in keras.initializers.RandomNormal(seed=1). Or: {SEED_FIRST}"
SAME_IN_EACH = "Measure time in a hook, and give a generator a seed, as in np.random.default_rng(1)."
SORTED = "Sort it, as in keras.layers.StringLookup(vocabulary=sorted(set(words))) in the place of list(set(words))."
CLASSES_IN_FILE = (
    "Read the file before, and give what is in it as numbers: unigrams=[float(line.split(',')[-1]) for line in "
    "pathlib.Path(file).read_text().splitlines()] instead of vocab_file=file."
)
CLASSES_LEARNED = (
    "Give it the counts of the classes: tf.random.fixed_unigram_candidate_sampler(..., unigrams=counts). Or, if "
    "classes are numbered from the most frequent one on: tf.random.log_uniform_candidate_sampler."
)
HELD_OR_SEED = (
    "Put the network that it belongs to into state, so that checkpoints hold it: Loop(..., state={..., 'teacher': "
    f"teacher}}). Or load weights into it. Or: {SEED_FIRST}"
)
UNMADE = (
    "Make the dataset of an epoch, without repeat(), in a function: StreamData(lambda epoch: ... .shuffle(n, "
    f"seed=epoch)). If it draws random numbers: {RANDOM_IN_DATA}"
)
GENERATOR = (
    "Let the generator or function begin anew at each call. If it draws, let it draw from numpy.random or random "
    "themselves, which have a seed of their own in each epoch, not by a shuffle of tf.data within it, and not in "
    "threads that it starts. Or make the dataset of each epoch, and let it draw from a generator that it makes itself "
    "of the epoch: StreamData(lambda epoch: tf.data.Dataset.from_generator(function, args=[epoch], ...), "
    "resume='replay'), where function(epoch) begins with rng = numpy.random.default_rng(epoch). Of what a hook "
    "changes, such as labels, let it yield the numbers of the rows; put the labels into a tf.Variable, and that into "
    "state, and read them in the step: tf.gather(labels, rows)."
)
DRAWN_IN_TENSORFLOW = (
    "What draws by TensorFlow, as layers of Keras, keras.random and tf.random do, belongs out of Python: .map(lambda "
    "x: layer(x, training=True)), without tf.py_function or tf.numpy_function, and behind a generator instead of in "
    "it. There it draws anew for each element. In Python, draw from numpy.random or random."
)
KEPT_AS_PLAIN = (
    "Keep it in numbers, texts, NumPy arrays of at most 64 MB together, or in lists, dicts and sets of these; or let "
    "each pass begin by making it anew. What hooks alone change belongs into an object of their own."
)
IN_FUNCTION = f"Do it outside of the function, or use {REPLAY}."
CACHE_FILE = "Fill it before, as in `for _ in rows.cache(file): pass`; or cache in memory; or save() and load()."
CSV_HEADER = (
    f"Leave out the first line, TextLineDataset(file).skip(1), and map it with tf.io.decode_csv; or use {REPLAY}."
)
SNAPSHOT = "Write it before, with save(), and load() it."
SERVICE = "Leave out .apply(tf.data.experimental.service.distribute(...)): the pipeline is then read in this process."
SHUFFLE = "Write .shuffle(buffer_size), with a buffer as long as the data if all are to be shuffled."
SAMPLED = f"Use {REPLAY}."
ITEM_DRAWS = (
    "Draw from numpy.random or random, as in numpy.random.normal(size=3): of these streams each item has its own in "
    "each epoch. Or make a generator of the number of the item, where it is read: numpy.random.default_rng([1, i]). Of "
    "Keras' ImageDataGenerator, leave out the seed= of flow: without it, it draws from numpy.random."
)
SOURCE_STATE = (
    "Give the source get_state(), which returns it as JSON values, bytes or NumPy arrays, and set_state(state), which "
    "takes it over."
)
READ_BETWEEN_STEPS = (
    "Read it in the step; or hand out batches between steps, by StatefulData(source), where next(source) returns one, "
    "and source.get_state() and source.set_state(state) say where it is."
)
READS_AHEAD = "Read no batch before it is wanted: prefetch=0."
AGAIN_FROM_STATE = (
    "Let the state hold all that next() depends on: get_state() returns it, set_state(state) takes it over, with the "
    "state of generators in it, as in rng.bit_generator.state. What is drawn from numpy.random or random needs none."
)
ITERATED_ANEW = (
    "Give the iterator itself, which goes on through all epochs: StatefulData(iter(source), steps_per_epoch=...). Or "
    "make it of the epoch alone: StatefulData(lambda epoch: ...), with numpy.random.default_rng(epoch)."
)
