"""Names of parts of a run as people say them, instead of their specifications."""

# Data sets whose name says nothing without the folder that they were read from.
OF_A_FOLDER = ("image-folder",)


def dataset_name(spelled: str, folder: str | None = None) -> str:
    """Return a data set's name without its settings: "digits" of "digits:size=16".

    Of an object that is named by its module, "package.module:my_data", it is the object's name; of files in a folder
    the folder's name goes first, if that is known.
    """
    name, _, rest = spelled.strip().partition(":")
    if "." in name and rest:
        return rest.partition(":")[0] or name
    if name == "object":
        return "own data"
    if name in OF_A_FOLDER and folder:
        return f"{folder} ({name})"
    return name
