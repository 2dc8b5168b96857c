"""What a run does, told to a file: models loaded, forward passes, documents annotated, commits won, connections."""

from tests.faults.injection.hooks import Patches, tell, wrap


def tell_loads(catalog, _):
    def around(load, *arguments):
        tell("load")
        return load(*arguments)

    wrap(catalog.CheckpointTaggerConfig, "load", around)


def tell_passes(torch_classifier, _):
    def around(submit, self, ids, lengths):
        tell("pass", len(lengths))
        return submit(self, ids, lengths)

    wrap(torch_classifier.TorchClassifier, "submit", around)


def tell_documents(annotator, _):
    def around(finish, self, documents, *arguments):
        tell("documents", documents.num_rows)
        return finish(self, documents, *arguments)

    wrap(annotator.Annotator, "_finish", around)


def tell_commits(posix, _):
    def around(put, self, name, content):
        is_won = put(self, name, content)
        if is_won and name.startswith("_commits/"):
            tell("commit", name.partition("/")[2])
        return is_won

    wrap(posix.PosixStore, "put_if_absent", around)


def tell_connections(socket, _):
    def around(connect, self, address):
        if self.family != socket.AF_UNIX:
            tell("connect", address[0])
        return connect(self, address)

    wrap(socket.socket, "connect", around)


METER: Patches = {
    "meter": (
        ("transforms.models.catalog", tell_loads),
        ("transforms.models.torch_classifier", tell_passes),
        ("transforms.models.annotator", tell_documents),
        ("transforms.storage.posix", tell_commits),
        ("socket", tell_connections),
    )
}
