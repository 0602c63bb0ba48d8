/* A device that goes on learning: from the weights of a run, on ten flowers of its own. */
#include <stdio.h>
#include <stdlib.h>

#include "flower.h"

int main(void) {
  static const float sizes[10 * 2] = {1.5f, 0.3f, 1.4f, 0.2f, 1.6f, 0.3f, 4.3f, 1.3f, 4.5f, 1.4f,
                                      4.6f, 1.4f, 5.9f, 2.1f, 6.0f, 2.3f, 5.8f, 2.2f, 4.9f, 1.9f};
  static const int32_t species[10] = {0, 0, 0, 1, 1, 1, 2, 2, 2, 2};
  flower_progress progress = {1, 1, 1, 100}; /* seed, step, steps of an epoch, steps in all */
  void *params = aligned_alloc(64, flower_params_size()), *state = aligned_alloc(64, flower_state_size());
  void *work = malloc(flower_work_size(10));
  float x[10 * 2], loss;
  int32_t y[10];
  if (params == NULL || state == NULL || work == NULL) return 2;

  flower_weights(params, state);
  flower_feed(sizes, species, x, y, 10, params, state, work);
  for (; progress.step <= progress.total_steps; ++progress.step) {
    if (flower_step(x, y, &loss, 10, params, state, &progress, work) != 0) return 1;
    if (progress.step % 25 == 1) printf("step %d: loss %.4f\n", (int)progress.step, (double)loss);
  }
  free(params), free(state), free(work);
  return 0;
}
