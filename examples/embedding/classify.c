/* Which flower has petals of this length and this width? */
#include <stdio.h>
#include <stdlib.h>

#include "flower.h"

int main(int argc, char **argv) {
  float sizes[2], x[2];
  int32_t species;
  void *work = malloc(flower_work_size(1));
  int i;
  if (argc != 3 || work == NULL) return 2;
  for (i = 0; i < 2; ++i) sizes[i] = strtof(argv[1 + i], NULL);
  flower_feed(sizes, x, 1, work); /* as the data block says: standardized */
  flower_predict(x, &species, 1, work);
  printf("%s\n", flower_species_names[species]);
  free(work);
  return 0;
}
