/* 64 MiB of pages: the tables fit into a second-level cache. */
#define PAGES (1UL << 14)
#define PIECE 8192
#include "walk.h"
