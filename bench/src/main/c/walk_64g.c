/* 64 GiB of pages: the tables are 128 MiB. */
#define PAGES (1UL << 24)
#define PIECE 512
#include "walk.h"
