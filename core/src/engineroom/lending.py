"""Lends scripts the names that today's libraries no longer have.

Scripts were written against the libraries of their day. A name is lent only where it is missing,
and only to code of the package: everybody else still gets an AttributeError.
"""

from __future__ import annotations

import functools
import importlib
import logging
import pickle
import sys
import weakref
from collections.abc import Callable, Mapping
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from engineroom.package import Package
    from engineroom.settings import Settings

log = logging.getLogger("engineroom")

Find: TypeAlias = Callable[[str], "tuple[Any, str] | None"]

# Modules of scikit-learn that got an underscore in 0.22, and those whose name changed otherwise: a
# pickle names them. Source: the deprecated modules of scikit-learn 0.22 and the tree of 0.21.
UNDERSCORED = {
    "cluster": "affinity_propagation_ bicluster birch dbscan_ mean_shift_ optics_ spectral",
    "covariance": "elliptic_envelope empirical_covariance_ graph_lasso_ robust_covariance "
    "shrunk_covariance_",
    "decomposition": "base dict_learning factor_analysis fastica_ incremental_pca kernel_pca nmf "
    "pca sparse_pca truncated_svd",
    "ensemble": "bagging base forest iforest voting weight_boosting",
    "feature_extraction": "dict_vectorizer stop_words",
    "feature_selection": "base from_model mutual_info_ rfe univariate_selection variance_threshold",
    "gaussian_process": "gpc gpr",
    "linear_model": "base bayes coordinate_descent huber least_angle logistic omp "
    "passive_aggressive perceptron ransac ridge sag sgd_fast stochastic_gradient theil_sen",
    "manifold": "isomap locally_linear mds spectral_embedding_ t_sne",
    "mixture": "base bayesian_mixture gaussian_mixture",
    "neighbors": "ball_tree base classification graph kd_tree kde lof nearest_centroid regression "
    "unsupervised",
    "neural_network": "multilayer_perceptron rbm",
    "preprocessing": "data label",
    "semi_supervised": "label_propagation",
    "svm": "base bounds classes liblinear libsvm libsvm_sparse",
    "tree": "export",
}
MOVED = {
    "sklearn.externals.joblib": "joblib",
    "sklearn.externals.six": "six",
    "sklearn.cross_validation": "sklearn.model_selection",
    "sklearn.grid_search": "sklearn.model_selection",
    "sklearn.datasets.samples_generator": "sklearn.datasets",
    "scipy.misc": "engineroom.lent.misc",  # which the last scipy to have it has left empty
    "xml.etree.cElementTree": "xml.etree.ElementTree",
    "sklearn.cluster.hierarchical": "sklearn.cluster._agglomerative",
    "sklearn.cluster.k_means_": "sklearn.cluster._kmeans",
    "sklearn.cross_decomposition.cca_": "sklearn.cross_decomposition._pls",
    "sklearn.cross_decomposition.pls_": "sklearn.cross_decomposition._pls",
    "sklearn.decomposition.online_lda": "sklearn.decomposition._lda",
    "sklearn.ensemble.gradient_boosting": "sklearn.ensemble._gb",
    "sklearn.ensemble.voting_classifier": "sklearn.ensemble._voting",
    "sklearn.feature_extraction.hashing": "sklearn.feature_extraction._hash",
    "sklearn.tree.tree": "sklearn.tree._classes",
    **{
        f"sklearn.{package}.{name}": f"sklearn.{package}._{name.strip('_')}"
        for package, names in UNDERSCORED.items()
        for name in names.split()
    },
}
"""Modules that a script, or a pickle that it reads, may still ask for under their old name."""


_stages: list[weakref.ref[Stage]] = []


class Stage:
    """What the adapters of libraries know about a script, and what was lent to it."""

    def __init__(self, package: Package, settings: Settings, device: str, engine: str = "") -> None:
        """``device`` is the setting as this process has to understand it, ``engine`` the name of
        the one whose parent class the script has.
        """
        self.package, self.settings = package, settings
        self.device, self.engine = device, engine
        self.lent: dict[str, str] = {}
        self._told: set[str] = set()
        self._warned: set[str] = set()
        self._is_loaded = False
        # Newest first: a package that is loaded again, with another setting, means that one.
        _stages[:] = [weakref.ref(self), *(known for known in _stages if known() is not None)]

    def warn(self, message: str) -> None:
        """Log a warning about the script, once."""
        if message not in self._warned:
            self._warned.add(message)
            log.warning("%s", message)

    def note(self, name: str, modern: str) -> None:
        """``name`` was lent; ``modern`` is how one writes it today."""
        self.lent.setdefault(name, modern)
        if self._is_loaded:
            self.tell()

    def tell(self) -> None:
        """Log what was lent, each name once: in one line when the script has been loaded."""
        self._is_loaded = True
        new = {name: modern for name, modern in self.lent.items() if name not in self._told}
        self._told.update(new)
        if new:
            pairs = ", ".join(f"{name} ({modern})" for name, modern in new.items())
            log.info("lent to the script, with today's spelling: %s", pairs)


def asking() -> Stage | None:
    """The stage of the script that called the function which calls this; None: no script did."""
    return _stage_of(sys._getframe(2))


def _stage_of(frame: FrameType | None) -> Stage | None:
    # `from library import name` asks through the import system.
    while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    for known in _stages if frame is not None else ():
        stage = known()
        if stage is not None and frame and stage.package.owns(frame.f_code.co_filename):
            return stage
    return None


def lend(module: ModuleType, find: Find, shown: str = "") -> None:
    """Answer scripts that ask ``module`` for a name it lacks. To do so again changes nothing.

    ``find(name)`` gives the value and its modern spelling, or None for a name it does not know.
    ``shown`` is the module as scripts write it, when its ``__name__`` is another.
    """
    previous = vars(module).get("__getattr__")
    if getattr(previous, "__module__", None) == __name__:
        return

    def lend_missing(name: str) -> Any:
        stage = None if name.startswith("__") else asking()
        found = find(name) if stage is not None and stage.settings.lent_names else None
        if stage is not None and found is not None:
            stage.note(f"{shown or module.__name__}.{name}", found[1])
            return found[0]
        if previous is not None:
            return previous(name)
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    vars(module)["__getattr__"] = lend_missing


class LentMethod:
    """A method, or a property, that only scripts find. The function takes the object first."""

    def __init__(
        self, name: str, method: Callable[..., Any], modern: str, is_property: bool
    ) -> None:
        self.name, self.method, self.modern = name, method, modern
        self.is_property = is_property

    def __get__(self, instance: Any, owner: type) -> Any:
        stage = asking()
        if stage is None or not stage.settings.lent_names:
            name = self.name.rpartition(".")[2]
            raise AttributeError(f"{owner.__name__!r} object has no attribute {name!r}")
        stage.note(self.name, self.modern)
        if instance is None:
            return self.method
        bound = functools.partial(self.method, instance)
        return bound() if self.is_property else bound


def lend_method(
    cls: type, name: str, method: Callable[..., Any], modern: str, is_property: bool = False
) -> None:
    """Likewise for a method, or a property, of a class that lacks it."""
    if not hasattr(cls, name):
        setattr(cls, name, LentMethod(f"{cls.__name__}.{name}", method, modern, is_property))


def lend_call(holder: Any, name: str, call: Callable[..., Any]) -> None:
    """Let scripts call the function ``holder.name`` in a way that it no longer knows.

    They get ``call(stage, original, *args, **options)``, all others the original. To do so again
    changes nothing.
    """
    original = getattr(holder, name)
    if getattr(original, "__module__", None) == __name__:
        return

    @functools.wraps(original, assigned=("__name__", "__qualname__", "__doc__"))
    def called(*args: Any, **options: Any) -> Any:
        stage = asking()
        if stage is None or not stage.settings.lent_names:
            return original(*args, **options)
        return call(stage, original, *args, **options)

    setattr(holder, name, called)


# The functions from which readers of pickles ask a module for a name; the C one is called directly.
UNPICKLING = {"find_class", "_getattribute", "read_pickle", "read_array"}


def lend_own(main: ModuleType, _stage: Stage | None = None) -> None:
    """Answer pickles of a training script: its ``__main__.Net`` is the package's own ``Net``.

    Raises:
        UnpicklingError: later, where a pickle wants a name that the package does not have.
    """

    def lend_own_name(name: str) -> Any:
        caller: FrameType | None = sys._getframe(1)
        is_unpickling = _stage_of(caller) or (caller and caller.f_code.co_name in UNPICKLING)
        stage = None
        while caller is not None and stage is None:
            stage, caller = _stage_of(caller), caller.f_back
        if stage is None and is_unpickling:  # an engine reads its model file, for this script:
            script = str(getattr(sys.modules.get("customize_service"), "__file__", ""))
            alive = filter(None, (known() for known in _stages))
            stage = next((known for known in alive if known.package.owns(script)), None)
        if stage is None or name[:2] == "__" or not stage.settings.lent_names:
            raise AttributeError(f"module '__main__' has no attribute {name!r}")
        for module in sorted(sys.modules, key=lambda module: module != "customize_service"):
            names = getattr(sys.modules[module], "__dict__", {})
            if name in names and stage.package.owns(str(names.get("__file__"))):
                own = names[name]
                stage.note(f"__main__.{name}", f"{getattr(own, '__module__', module)}.{name}")
                return own
        message = (
            f"the file was written by a script that had {name!r} in it (__main__.{name}); "
            f"define it in {stage.package.script}, or import it there"
        )
        raise pickle.UnpicklingError(message) if is_unpickling else AttributeError(message)

    vars(main).setdefault("__getattr__", lend_own_name)


def moved_module(name: str, moved: Mapping[str, str] = MOVED) -> str | None:
    """The name that the module ``name`` has today; None for one that never moved."""
    old, rest = name, ""
    while old and old not in moved:
        old, _, part = old.rpartition(".")
        rest = f".{part}{rest}"
    return moved[old] + rest if old else None


def is_in_moved(name: str) -> bool:
    """Whether ``name`` is inside a module that has been taken over, and is to be that one's."""
    parent = name.rpartition(".")[0]
    return parent in sys.modules and sys.modules[parent].__name__ != parent


def forget(name: str) -> None:
    """Take a moved module's old name back, also from the package that holds it."""
    module, (parent, _, last) = sys.modules.pop(name), name.rpartition(".")
    holder = sys.modules.get(parent)
    if holder is not None and holder.__name__ == parent and vars(holder).get(last) is module:
        delattr(holder, last)


def take_over(module: ModuleType, name: str) -> None:
    """Let ``module``'s name stand for the module ``name``."""
    sys.modules[module.__name__] = importlib.import_module(name)
