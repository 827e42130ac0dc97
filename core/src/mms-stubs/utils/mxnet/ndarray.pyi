from engineroom.lent.ndarray import *
