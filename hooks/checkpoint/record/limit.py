"""How large a manifest may be: in proportion to what it describes, so a planted one costs neither time nor memory."""

SMALL, LARGEST = 2**20, 2**28  # bytes
TIMES = 32  # as large as the index may the rest be; TensorFlow writes 40 bytes and more into that for each variable
OF_VARIABLE = 40


def limit(index: int) -> int:
    """Returns how many bytes a manifest may have.

    Args:
        index: The size in bytes of the file `<stem>.index` that it is the manifest of.
    """
    return min(SMALL + TIMES * index, LARGEST)


def refuse_if_too_large(size: int, variables: int) -> None:
    """Raises `ValueError` if a manifest of this size, in bytes, may come to be refused when it is written.

    Args:
        size: What is known of it before anything is saved; logs and names of files come to it.
        variables: How many it describes.
    """
    # Of the smallest index that TensorFlow may write for so many: the real one is there only after a save.
    most = limit(OF_VARIABLE * variables)
    if size > most * 0.9:  # a tenth is left for logs and names of files, which may grow
        raise ValueError(
            f"A checkpoint can describe a state of {variables:,} variables in about {most:,} bytes. Received: one that "
            f"takes {size:,}. Give keys, layers and variables shorter names, or stack equal ones in one variable."
        )
