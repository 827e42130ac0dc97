from logging import *

get_logger = getLogger
