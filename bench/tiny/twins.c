/* The steps of bench/tiny/NAME.nn as one would write them in C: plain loops over the rows, libm, SGD on the mean
 * gradient. p holds the parameters in the order of the layers, weights before biases. With LOSS each gives the mean
 * loss, as a step of nnc does; without it they leave that out. */
#include <math.h>
#include <stdint.h>

#ifdef LOSS
#define STEP(name) double name##_with_loss
#define ADD_LOSS(value) loss += (value)
#else
#define STEP(name) double name##_alone
#define ADD_LOSS(value) (void)0
#endif

static const double rate = 0.01;

static inline double sigmoid(double z) { return 1 / (1 + exp(-z)); }
static inline void descend(double* p, const double* gradient, int count, long rows) {
  for (int i = 0; i < count; ++i) p[i] -= rate * gradient[i] / (double)rows;
}

STEP(linear)(double* p, const double* x, const double* y, long rows) {
  double g[2] = {0}, loss = 0;
  for (long r = 0; r < rows; ++r) {
    const double d = p[0] * x[r] + p[1] - y[r];
    ADD_LOSS(0.5 * d * d);
    g[0] += d * x[r];
    g[1] += d;
  }
  descend(p, g, 2, rows);
  return loss / (double)rows;
}

STEP(logistic)(double* p, const double* x, const double* y, long rows) {
  double g[3] = {0}, loss = 0;
  for (long r = 0; r < rows; ++r, x += 2) {
    const double a = sigmoid(p[0] * x[0] + p[1] * x[1] + p[2]), d = a - y[r];
    ADD_LOSS(-(y[r] * log(a) + (1 - y[r]) * log(1 - a)));
    g[0] += d * x[0];
    g[1] += d * x[1];
    g[2] += d;
  }
  descend(p, g, 3, rows);
  return loss / (double)rows;
}

/* p: W1[2][2], b1[2], W2[2], b2 */
STEP(xor)(double* p, const double* x, const double* y, long rows) {
  double g[9] = {0}, loss = 0;
  for (long r = 0; r < rows; ++r, x += 2) {
    double h[2];
    for (int j = 0; j < 2; ++j) h[j] = sigmoid(p[j] * x[0] + p[2 + j] * x[1] + p[4 + j]);
    const double a = sigmoid(p[6] * h[0] + p[7] * h[1] + p[8]), d = a - y[r];
    ADD_LOSS(-(y[r] * log(a) + (1 - y[r]) * log(1 - a)));
    for (int j = 0; j < 2; ++j) {
      const double dh = d * p[6 + j] * h[j] * (1 - h[j]);
      g[j] += dh * x[0];
      g[2 + j] += dh * x[1];
      g[4 + j] += dh;
      g[6 + j] += d * h[j];
    }
    g[8] += d;
  }
  descend(p, g, 9, rows);
  return loss / (double)rows;
}

/* p: W1[3], b1[3], W2[3], b2 */
STEP(curve)(double* p, const double* x, const double* y, long rows) {
  double g[10] = {0}, loss = 0;
  for (long r = 0; r < rows; ++r) {
    double h[3], z = p[9];
    for (int j = 0; j < 3; ++j) {
      h[j] = tanh(p[j] * x[r] + p[3 + j]);
      z += p[6 + j] * h[j];
    }
    const double d = z - y[r];
    ADD_LOSS(0.5 * d * d);
    for (int j = 0; j < 3; ++j) {
      const double dh = d * p[6 + j] * (1 - h[j] * h[j]);
      g[j] += dh * x[r];
      g[3 + j] += dh;
      g[6 + j] += d * h[j];
    }
    g[9] += d;
  }
  descend(p, g, 10, rows);
  return loss / (double)rows;
}

/* p: W1[2][3], b1[3], W2[3][3], b2[3] */
STEP(softmax)(double* p, const double* x, const int32_t* y, long rows) {
  double g[21] = {0}, loss = 0;
  for (long r = 0; r < rows; ++r, x += 2) {
    double h[3], z[3], e[3], dh[3] = {0}, greatest, sum = 0;
    for (int j = 0; j < 3; ++j) h[j] = tanh(p[j] * x[0] + p[3 + j] * x[1] + p[6 + j]);
    for (int c = 0; c < 3; ++c) z[c] = p[18 + c] + p[9 + c] * h[0] + p[12 + c] * h[1] + p[15 + c] * h[2];
    greatest = fmax(z[0], fmax(z[1], z[2]));
    for (int c = 0; c < 3; ++c) sum += e[c] = exp(z[c] - greatest);
    ADD_LOSS(log(sum) + greatest - z[y[r]]);
    for (int c = 0; c < 3; ++c) {
      const double d = e[c] / sum - (c == y[r]);
      g[18 + c] += d;
      for (int j = 0; j < 3; ++j) {
        g[9 + 3 * j + c] += d * h[j];
        dh[j] += d * p[9 + 3 * j + c];
      }
    }
    for (int j = 0; j < 3; ++j) {
      const double d = dh[j] * (1 - h[j] * h[j]);
      g[j] += d * x[0];
      g[3 + j] += d * x[1];
      g[6 + j] += d;
    }
  }
  descend(p, g, 21, rows);
  return loss / (double)rows;
}
