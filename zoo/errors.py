"""The one kind of error that is the user's to mend."""


class InputError(ValueError):
    """A mistake in what the user gave: a file, a name, a value.

    The message is one line that names the offending value, the place (file, line, column) where there is one, and the
    remedy. The command line prints it and exits with status 2; from Python it is an ordinary ValueError.
    """
