"""What to write in the place of operations that XLA does not know, by their kinds. A test follows each, literally."""

from loop.engine.ways.lengths import LEAVE_OUT

ELSEWHERE = (
    "Leave out jit_compile=True; or, if it is done to the batch alone, do it in the data. XLA knows no texts, tables, "
    "Python, and few other things."
)
GROWS = f"{LEAVE_OUT} write tf.TensorArray(dtype, size=100), without dynamic_size: as many as there can be."
PRINT = f"{LEAVE_OUT} return from the step what is to be seen, a number under a name: it is logged."
SUMMARY = (
    f"{LEAVE_OUT} return numbers from the step, which are logged and shown, and write images, texts and histograms in "
    "on_step_end of a hook, within `with tensorboard.summaries():`."
)
DIAGONAL = "tf.linalg.diag_part(tf.linalg.qr(a)[1])"
UNIQUE = (
    f"{LEAVE_OUT} write values, ids = tf.unique(x), and counts = tf.math.unsorted_segment_sum(tf.ones_like(ids), ids, "
    "num_segments=100): as many as there can be; those that are not there have a count of 0."
)
BILINEAR = (
    f"{LEAVE_OUT} write tf.image.resize(x, size), which is bilinear and without antialias; or, if it is done to the "
    "batch alone, do it in the data."
)
OF_KIND = {
    "TensorListResize": GROWS,  # of the gradient of one that may grow
    **dict.fromkeys(("StringFormat", "PrintV2"), PRINT),  # of tf.print
    **dict.fromkeys(("WriteSummary", "WriteScalarSummary", "WriteHistogramSummary", "WriteImageSummary"), SUMMARY),
    "UniqueWithCounts": UNIQUE,
    "UniqueWithCountsV2": UNIQUE,
    "HistogramFixedWidth": f"{LEAVE_OUT} write tf.reduce_sum(tf.one_hot(tf.histogram_fixed_width_bins(tf.reshape(x, "
    "[-1]), [0.0, 1.0], nbins=100), depth=100), axis=0).",
    "SparseTensorDenseMatMul": f"{LEAVE_OUT} write tf.matmul(tf.sparse.to_dense(a), b).",
    "NthElement": f"{LEAVE_OUT} write tf.sort(x)[..., n].",
    "ResizeNearestNeighborGrad": f"{LEAVE_OUT} write tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2) for images of twice "
    "the size; or tf.image.resize(x, size), which is bilinear.",
    # Of matrices. There is no public operation of which XLA knows the sign of a determinant.
    "MatrixDeterminant": f"{LEAVE_OUT} write tf.exp(tf.linalg.logdet(a)) if the matrix is positive definite; or, for "
    f"its size without the sign, tf.abs(tf.reduce_prod({DIAGONAL}, axis=-1)).",
    "LogMatrixDeterminant": f"{LEAVE_OUT} write tf.linalg.logdet(a) if the matrix is positive definite; or, for the "
    f"logarithm without the sign, tf.reduce_sum(tf.math.log(tf.abs({DIAGONAL})), axis=-1).",
    "Lu": f"{LEAVE_OUT} write tf.linalg.solve(a, b), which XLA knows, for what is solved by it.",
    "Eig": f"{LEAVE_OUT} write tf.linalg.eigh(a) if the matrix is symmetric.",
}
OF_KIND |= {
    kind: f"{LEAVE_OUT} write e, v = tf.linalg.eigh(a), and tf.matmul(v * {of}(e)[..., tf.newaxis, :], v, "
    "adjoint_b=True), if the matrix is symmetric, with no two eigenvalues alike if it is differentiated."
    for kind, of in {"MatrixSquareRoot": "tf.sqrt", "MatrixLogarithm": "tf.math.log"}.items()
}
OF_KIND |= {
    f"SparseSegment{kind}{ending}": f"{LEAVE_OUT} write tf.math.unsorted_segment_{of}(tf.gather(x, indices), ids, "
    "num_segments=100): as many as there can be."
    for kind, of in {"Sum": "sum", "Mean": "mean", "SqrtN": "sqrt_n"}.items()
    for ending in ("", "WithNumSegments", "Grad", "GradV2")
}
RESIZING = ("ResizeArea", "ResizeBicubic", "ResizeBicubicGrad", "ScaleAndTranslate", "ScaleAndTranslateGrad")
OF_KIND |= dict.fromkeys(RESIZING, BILINEAR)
OF_KIND |= {
    f"Segment{kind}": f"{LEAVE_OUT} write tf.math.unsorted_segment_{kind.lower()}(x, ids, num_segments=100): as many "
    "as there can be."
    for kind in ("Sum", "Mean", "Prod", "Max", "Min")
}
IN_MESSAGE = {  # by what is in what XLA says; the first that is counts
    "with op DenseBincount must be": f"{LEAVE_OUT} write tf.reduce_sum(tf.one_hot(x, depth=100), axis=0) for "
    "counts of whole numbers: with as many places as there can be numbers.",
    "with op ResourceStridedSliceAssign must be": f"{LEAVE_OUT} write "
    "v.scatter_update(tf.IndexedSlices(x, start + tf.range(4))) for v[start : start + 4].assign(x).",
    "must be a compile-time constant": f"{LEAVE_OUT} give it a length that does not depend on values: the "
    "largest there can be, with a mask of what counts. XLA has to know shapes beforehand.",
    "requires a fixed tensor list size": f"{LEAVE_OUT} say how often the loop can run that it goes back through: write "
    "tf.autograph.experimental.set_loop_options(maximum_iterations=100) in its first line, or "
    "tf.while_loop(..., maximum_iterations=100), or keras.ops.while_loop with the same; tf.scan in the place of "
    "keras.ops.scan. Of a loop within TensorFlow, as of tf.linalg.expm, nobody can say it.",
    "shape of dy was": f"{LEAVE_OUT} let all branches of a condition return one shape, as in tf.cond(c, lambda: "
    "tf.pad(x[:2], [[0, 2], [0, 0]]), lambda: x) for x of 4 rows.",
    "shapes of loop body do not match": f"{LEAVE_OUT} let all that a loop carries keep its shape: as long as it can "
    "become, with a mask of what counts; or tf.TensorArray(dtype, size=100), written place by place.",
    "does not yet support pivoting": f"{LEAVE_OUT} write tf.linalg.tridiagonal_solve(..., partial_pivoting=False).",
}
