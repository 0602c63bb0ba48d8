// The contractions of bench/contractions.cpp by other libraries, where they are installed (libdnnl-dev, libxsmm-dev).
// Memory and set-up are made once; a call does the product alone, in one thread, on operands that lie as a training
// step has them: everything row-major, images and weights of a convolution in the layouts that the library itself
// wants.
#pragma once

#include <cstdint>
#include <functional>

namespace nnc {

enum class Form { forward, input_gradient, weight_gradient };

/// One run of it; empty where the library is missing or has no such form.
using PeerWork = std::function<void()>;

PeerWork onednn_product(Form form, std::int64_t batch, std::int64_t in, std::int64_t out);
PeerWork onednn_convolution(Form form, std::int64_t batch, std::int64_t size, std::int64_t in, std::int64_t out);
PeerWork libxsmm_product(Form form, std::int64_t batch, std::int64_t in, std::int64_t out);

}  // namespace nnc
