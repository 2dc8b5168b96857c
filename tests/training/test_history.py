from training.history import read_history

LOG = [
    {"loss": 0.9, "grad_norm": 1.0, "learning_rate": 5e-5, "epoch": 1.0, "step": 7},
    {"eval_f1": 0.5, "eval_f1_by_file": {"a": 0.4, "b": 0.6}, "eval_seconds": 2.5, "epoch": 1.0, "step": 7},
    {"loss": 0.4, "learning_rate": 1e-5, "epoch": 2.0, "step": 14},
    {"eval_f1": 0.7, "epoch": 2.0, "step": 14},
    {"train_runtime": 9.0, "train_loss": 0.65, "epoch": 2.0, "step": 14},
]


def test_read_history_joins_what_was_logged_at_one_step():
    assert read_history(LOG) == [
        {
            "step": 7,
            "epoch": 1.0,
            "loss": 0.9,
            "learning_rate": 5e-5,
            "f1": 0.5,
            "f1_by_file": {"a": 0.4, "b": 0.6},
            "seconds": 2.5,
        },
        {"step": 14, "epoch": 2.0, "loss": 0.4, "learning_rate": 1e-5, "f1": 0.7},
    ]


def test_read_history_of_nothing_is_nothing():
    assert read_history([]) == []
    assert read_history([{"train_runtime": 9.0, "step": 0}]) == []
