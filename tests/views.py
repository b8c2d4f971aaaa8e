"""Views that tests look at."""

from fastmagic.progress import View


class Notes(View):
    """Keeps what is said."""

    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)
