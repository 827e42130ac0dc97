"""Which distribution brings a module, what it is called today, and what stands in for it.

Tables of strings: nothing is imported, and nobody is asked. A name that is in none of them is its
own distribution, as most are.
"""

from __future__ import annotations

import platform
import sys

from packaging.utils import canonicalize_name

PYTHON = f"Python {'.'.join(platform.python_version_tuple()[:2])}"
"""The one that runs here."""

# Modules whose distribution has another name. Source: the projects' own install pages.
MODULES = {
    "attr": "attrs", "bs4": "beautifulsoup4", "cv2": "opencv-python-headless", "dateutil":
    "python-dateutil", "docx": "python-docx", "dotenv": "python-dotenv", "faiss": "faiss-cpu",
    "ffmpeg": "ffmpeg-python", "fitz": "pymupdf", "git": "gitpython", "google.cloud.storage":
    "google-cloud-storage", "google.protobuf": "protobuf", "jwt": "pyjwt", "kafka": "kafka-python",
    "magic": "python-magic", "mpl_toolkits": "matplotlib", "MySQLdb": "mysqlclient", "OpenSSL":
    "pyopenssl", "osgeo": "gdal", "pkg_resources": "setuptools<81", "PIL": "pillow", "pptx":
    "python-pptx", "psycopg2": "psycopg2-binary", "pylab": "matplotlib", "pywt": "pywavelets",
    "ruamel.yaml": "ruamel.yaml", "serial": "pyserial", "shapefile": "pyshp", "skimage":
    "scikit-image", "sklearn": "scikit-learn", "skvideo": "sk-video", "slugify": "python-slugify",
    "snappy": "python-snappy", "socks": "pysocks", "umap": "umap-learn", "usb": "pyusb",
    "websocket": "websocket-client", "Crypto": "pycryptodome", "Cryptodome": "pycryptodomex",
    "win32com": "pywin32", "wx": "wxpython", "yaml": "pyyaml", "zmq": "pyzmq",
}  # fmt: skip

# Names that config.json files give and that are not, or no longer, published: canonical form.
MOVED = {
    "crypto": "pycryptodome", "cv2": "opencv-python", "mindspore-ascend": "mindspore",
    "mindspore-cpu": "mindspore", "mindspore-gpu": "mindspore", "opencv": "opencv-python",
    "opencv-contrib": "opencv-contrib-python", "pil": "pillow", "pycrypto": "pycryptodome",
    "python-opencv": "opencv-python", "pytorch": "torch", "skimage": "scikit-image", "sklearn":
    "scikit-learn", "tensorflow-gpu": "tensorflow", "yaml": "pyyaml",
}  # fmt: skip
RENUMBERED = {"crypto", "pil", "pycrypto"}
"""Of these the versions count otherwise than those of what they are today."""

# Distributions that bring the same modules, so that one of them is enough. Versions count alike.
ALIKE = (
    ("opencv-python", "opencv-python-headless"),
    ("opencv-contrib-python", "opencv-contrib-python-headless"),
    ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tensorflow-macos",
     "tensorflow-rocm", "tf-nightly", "tf-nightly-cpu"),
    ("onnxruntime", "onnxruntime-gpu", "onnxruntime-cann", "onnxruntime-directml",
     "onnxruntime-openvino", "onnxruntime-silicon", "onnxruntime-training", "ort-nightly"),
    ("pillow", "pillow-simd"),
    ("xgboost", "xgboost-cpu"),
    ("mindspore", "mindspore-gpu", "mindspore-ascend"),
    ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12"),
    ("psycopg2", "psycopg2-binary"),
    ("pycryptodome", "pycrypto"),
    ("mmcv", "mmcv-full"),
    ("mxnet", "mxnet-mkl", "mxnet-cu100", "mxnet-cu101", "mxnet-cu102", "mxnet-cu110"),
    ("paddlepaddle", "paddlepaddle-gpu"),
    ("tensorflow-serving-api", "tensorflow-serving-api-gpu"),
)  # fmt: skip
# These bring all of the others' module and more.
MORE = {
    "opencv-python": ("opencv-contrib-python", "opencv-contrib-python-headless"),
    "opencv-python-headless": ("opencv-contrib-python-headless", "opencv-contrib-python"),
}

# Modules and distributions that exist on the platform or with its hardware, and on no index.
PLATFORM = {
    "moxing": "the platform's storage and training library",
    "modelarts": "the platform's SDK",
    "modelarts-sdk": "the platform's SDK",
    "naie": "the platform's network AI service",
    "obs-sdk": "the platform's storage client",
    "acl": "pyACL, which CANN installs on machines with Ascend",
    "hiai": "the Ascend 310 runtime of the platform",
    "hccl": "a part of CANN, for machines with Ascend",
    "npu-bridge": "the TensorFlow adapter of CANN, for machines with Ascend",
    "npu-device": "the TensorFlow adapter of CANN, for machines with Ascend",
    "te": "a part of CANN, for machines with Ascend",
    "tbe": "a part of CANN, for machines with Ascend",
    "topi": "a part of CANN, for machines with Ascend",
    "mindx": "MindX SDK, for machines with Ascend",
    "mxpi": "MindX SDK, for machines with Ascend",
}

# Backports that Python has had for long; some of them break it when they are installed.
BACKPORTS = {
    "enum34": "enum", "futures": "concurrent.futures", "pathlib2": "pathlib", "subprocess32":
    "subprocess", "functools32": "functools", "unittest2": "unittest",
}  # fmt: skip

# What left the standard library: the first Python without it, and a distribution that brings it.
REMOVED = {
    "aifc": ("3.13", "standard-aifc"), "asynchat": ("3.12", "standard-asynchat"),
    "asyncore": ("3.12", "standard-asyncore"), "audioop": ("3.13", "audioop-lts"),
    "cgi": ("3.13", "legacy-cgi"), "cgitb": ("3.13", "legacy-cgi"),
    "chunk": ("3.13", "standard-chunk"), "distutils": ("3.12", "setuptools"), "imp": ("3.12", ""),
    "imghdr": ("3.13", "standard-imghdr"), "mailcap": ("3.13", "standard-mailcap"),
    "nntplib": ("3.13", "standard-nntplib"), "pipes": ("3.13", "standard-pipes"),
    "smtpd": ("3.12", "standard-smtpd"), "sndhdr": ("3.13", "standard-sndhdr"),
    "sunau": ("3.13", "standard-sunau"), "telnetlib": ("3.13", "standard-telnetlib"),
    "uu": ("3.13", "standard-uu"), "xdrlib": ("3.13", "standard-xdrlib"),
}  # fmt: skip

# Modules of Python 2, and where their content is now.
PYTHON_2 = {
    "cPickle": "pickle", "cStringIO": "io", "StringIO": "io", "ConfigParser": "configparser",
    "Queue": "queue", "urllib2": "urllib.request", "urlparse": "urllib.parse", "httplib":
    "http.client", "HTMLParser": "html.parser", "commands": "subprocess", "__builtin__":
    "builtins", "Tkinter": "tkinter", "SocketServer": "socketserver", "BaseHTTPServer":
    "http.server", "cookielib": "http.cookiejar", "thread": "_thread", "sets": "set", "md5":
    "hashlib", "sha": "hashlib", "exceptions": "builtins",
}  # fmt: skip

# Names that Python 2 has built in, and what is written today.
NAMES_OF_PYTHON_2 = {
    "xrange": "range", "unicode": "str", "basestring": "str", "raw_input": "input", "long": "int",
    "unichr": "chr", "reduce": "functools.reduce", "reload": "importlib.reload", "file": "open",
    "execfile": "exec(open(path).read())", "cmp": "(a > b) - (a < b)", "StandardError": "Exception",
}  # fmt: skip

# Names that authors give to folders and files of their own; what the index has under them is
# another's.
OWN = {
    "utils", "util", "helper", "helpers", "common", "core", "lib", "libs", "src", "tools", "config",
    "configs", "cfg", "options", "model", "models", "net", "nets", "network", "networks", "layers",
    "modules", "module", "backbone", "backbones", "resnet", "unet", "vgg", "loss", "losses", "data",
    "dataset", "dataloader", "dataloaders", "transforms", "augmentations", "preprocess",
    "preprocessing", "postprocess", "postprocessing", "inference", "predict", "predictor", "train",
    "yolo", "yolo3", "yolov3", "darknet", "mobilenet", "lenet", "alexnet", "densenet", "inception",
    "crnn", "ssd", "deeplab", "visualize", "metrics", "logger", "constants", "params", "modeling",
    "tokenization", "test", "eval", "evaluate", "detect", "infer", "algorithm", "service",
    "services", "customize",
}  # fmt: skip


def published(name: str, version: str = "") -> tuple[str, bool]:
    """The canonical name under which ``name`` is published today; whether its ``version`` holds."""
    canonical = canonicalize_name(name)
    # What the index has as sklearn is an empty distribution, whose version people copy.
    is_empty = canonical == "sklearn" and version.startswith("0.0")
    return MOVED.get(canonical, canonical), canonical not in RENUMBERED and not is_empty


def distribution_of(module: str) -> str:
    """The distribution that brings ``module``; its top-level name where no table knows better."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if known := MODULES.get(".".join(parts[:length])):
            return known
    return parts[0]


def module_of(distribution: str) -> str:
    """The module by which one sees whether ``distribution`` is there."""
    for family in alike(distribution):
        for module, name in MODULES.items():
            if name == family and "." not in module:
                return module
    return distribution.replace("-", "_")


def alike(distribution: str) -> tuple[str, ...]:
    """The canonical names of which one is enough where ``distribution`` is wanted; it is first."""
    names = [distribution]
    for family in ALIKE:
        if distribution in family:
            names += family
    return tuple(dict.fromkeys([*names, *MORE.get(distribution, ())]))


def in_standard_library(name: str) -> str | None:
    """The standard module that makes the distribution ``name`` needless, if one does."""
    module = BACKPORTS.get(canonicalize_name(name), name)
    return module if module.partition(".")[0] in sys.stdlib_module_names else None


def is_own(module: str) -> bool:
    """Whether ``module`` has a name that authors give to files of their own."""
    top = module.partition(".")[0].lower()
    return top in OWN or top.endswith(("_util", "_utils", "_model", "_net", "_config"))


def on_platform(name: str) -> str | None:
    """What the module or distribution ``name`` is, if only the platform or its hardware has it."""
    top = name.partition(".")[0]
    return PLATFORM.get(canonicalize_name(top))
