/* Which flower has petals of this length and this width? */
#include <stdio.h>
#include <stdlib.h>

#include "flower.h"

int main(int argc, char **argv) {
  static const char *const names[] = {"daisy", "iris", "tulip"}; /* sorted, as classes are */
  float sizes[2], x[2], z[3];
  void *work = malloc(flower_work_size(1));
  int i, best = 0;
  if (argc != 3 || work == NULL) return 2;
  for (i = 0; i < 2; ++i) sizes[i] = strtof(argv[1 + i], NULL);

  flower_feed(sizes, x, 1, work); /* as the data block says: standardized */
  flower_infer(x, z, 1, work);    /* one row of logits */
  for (i = 1; i < 3; ++i)
    if (z[i] > z[best]) best = i;
  printf("%s\n", names[best]);
  free(work);
  return 0;
}
