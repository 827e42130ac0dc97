from engineroom.lent.image import *
