#include "bench/peers.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <vector>

#ifdef NNC_ONEDNN
#include <dlfcn.h>

#include <oneapi/dnnl/dnnl.hpp>
#endif
#ifdef NNC_LIBXSMM
#include <libxsmm.h>
#endif

namespace nnc {

namespace {

std::shared_ptr<std::vector<float>> numbers(std::int64_t count) {
  auto made = std::make_shared<std::vector<float>>(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < made->size(); ++i) (*made)[i] = static_cast<float>(i % 37) * 0.03F - 0.5F;
  return made;
}

}  // namespace

#ifdef NNC_ONEDNN

namespace {

/// By the OpenMP library that came with oneDNN, where it was built with one.
void in_one_thread() {
  if (void* set = dlsym(RTLD_DEFAULT, "omp_set_num_threads")) reinterpret_cast<void (*)(int)>(set)(1);
}

}  // namespace

PeerWork onednn_product(Form form, std::int64_t batch, std::int64_t in, std::int64_t out) {
  in_one_thread();
  const auto x = numbers(batch * in), w = numbers(in * out), dz = numbers(batch * out);
  switch (form) {
    case Form::forward:  // dz stands for the result
      return [=] { dnnl_sgemm('N', 'N', batch, out, in, 1, x->data(), in, w->data(), out, 0, dz->data(), out); };
    case Form::input_gradient:
      return [=] { dnnl_sgemm('N', 'T', batch, in, out, 1, dz->data(), out, w->data(), out, 0, x->data(), in); };
    case Form::weight_gradient:
      return [=] { dnnl_sgemm('T', 'N', in, out, batch, 1, x->data(), in, dz->data(), out, 0, w->data(), out); };
  }
  return {};
}

namespace {

template <class Primitive, class Description>
PeerWork run_of(const Description& description, std::vector<std::pair<int, dnnl::memory>> operands) {
  const Primitive primitive(description);
  const std::unordered_map<int, dnnl::memory> arguments(operands.begin(), operands.end());
  dnnl::stream stream(description.get_engine());
  return [=]() mutable {
    primitive.execute(stream, arguments);
    stream.wait();
  };
}

}  // namespace

PeerWork onednn_convolution(Form form, std::int64_t batch, std::int64_t size, std::int64_t in, std::int64_t out) {
  using namespace dnnl;
  in_one_thread();
  const engine cpu(engine::kind::cpu, 0);
  const auto any = [](const memory::dims& dims) {
    return memory::desc(dims, memory::data_type::f32, memory::format_tag::any);
  };
  const memory::desc images = any({batch, in, size, size}), weights = any({out, in, 3, 3}),
                     results = any({batch, out, size, size});
  const memory::dims stride{1, 1}, border{1, 1};
  const auto filled = [&](const memory::desc& of) {
    memory made(of, cpu);
    const auto values = numbers(static_cast<std::int64_t>(of.get_size() / sizeof(float)));
    std::ranges::copy(*values, static_cast<float*>(made.get_data_handle()));
    return made;
  };
  const convolution_forward::primitive_desc forward(
      {prop_kind::forward_training, algorithm::convolution_direct, images, weights, results, stride, border, border},
      cpu);
  switch (form) {
    case Form::forward:
      return run_of<convolution_forward>(forward, {{DNNL_ARG_SRC, filled(forward.src_desc())},
                                                   {DNNL_ARG_WEIGHTS, filled(forward.weights_desc())},
                                                   {DNNL_ARG_DST, filled(forward.dst_desc())}});
    case Form::input_gradient: {
      const convolution_backward_data::primitive_desc of(
          {algorithm::convolution_direct, images, weights, results, stride, border, border}, cpu, forward);
      return run_of<convolution_backward_data>(of, {{DNNL_ARG_DIFF_SRC, filled(of.diff_src_desc())},
                                                    {DNNL_ARG_WEIGHTS, filled(of.weights_desc())},
                                                    {DNNL_ARG_DIFF_DST, filled(of.diff_dst_desc())}});
    }
    case Form::weight_gradient: {
      const convolution_backward_weights::primitive_desc of(
          {algorithm::convolution_direct, images, weights, results, stride, border, border}, cpu, forward);
      return run_of<convolution_backward_weights>(of, {{DNNL_ARG_SRC, filled(of.src_desc())},
                                                       {DNNL_ARG_DIFF_WEIGHTS, filled(of.diff_weights_desc())},
                                                       {DNNL_ARG_DIFF_DST, filled(of.diff_dst_desc())}});
    }
  }
  return {};
}

#else

PeerWork onednn_product(Form, std::int64_t, std::int64_t, std::int64_t) { return {}; }
PeerWork onednn_convolution(Form, std::int64_t, std::int64_t, std::int64_t, std::int64_t) { return {}; }

#endif

#ifdef NNC_LIBXSMM

// Its matrices are column-major: a row-major product is the product of the transposed matrices the other way round. It
// makes code for products without transposes alone.
PeerWork libxsmm_product(Form form, std::int64_t batch, std::int64_t in, std::int64_t out) {
  if (form != Form::forward) return {};
  const auto m = static_cast<libxsmm_blasint>(out), n = static_cast<libxsmm_blasint>(batch),
             k = static_cast<libxsmm_blasint>(in);
  const int flags = LIBXSMM_GEMM_FLAG_NONE;
  const float one = 1, zero = 0;
  const libxsmm_smmfunction product = libxsmm_smmdispatch(m, n, k, &m, &k, &m, &one, &zero, &flags, nullptr);
  if (product == nullptr) return {};
  const auto x = numbers(batch * in), w = numbers(in * out), z = numbers(batch * out);
  return [=] { product(w->data(), x->data(), z->data()); };
}

#else

PeerWork libxsmm_product(Form, std::int64_t, std::int64_t, std::int64_t) { return {}; }

#endif

}  // namespace nnc
