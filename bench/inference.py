#!/usr/bin/env python3
"""Inference of the MNIST MLP beside ONNX Runtime: microseconds a call, one thread, in one process, in turn.

    python3 bench/inference.py build/nnc

Needs numpy, onnx and onnxruntime (pip), and a C compiler that makes a shared library of the object that `nnc build`
writes. The weights are those of a run of two steps: the same in both, and the results are compared. Each figure is the
least and the median over rounds in which both take their turn; other work on the machine makes the median larger.
"""
import argparse, ctypes, json, os, struct, subprocess, sys, tempfile, time

PROGRAM = """
model Mlp(x: f32[batch, 784]) -> f32[batch, 10] {
  return x |> Dense(256) |> relu |> Dense(128) |> relu |> Dense(10)
}
data noise {
  samples = 256
  x: f32[784] = uniform(0, 1)
  y: i32[] = 1
}
train Mlp on noise {
  loss = softmax_cross_entropy(Mlp(x), y)
  optimizer = adam(lr = 1e-3)
  batch_size = 128
  epochs = 1
}
"""


def parameters(path, numpy):
    """The f32 tensors of a safetensors file."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        body = file.read()
    return {
        name: numpy.frombuffer(body[begin:end], numpy.float32).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
        for begin, end in [entry["data_offsets"]]
    }


def onnx_session(weights, threads):
    import onnx, onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, flow = [], "x"
    for layer in (1, 2, 3):
        out = "y" if layer == 3 else f"z{layer}"
        nodes.append(helper.make_node("Gemm", [flow, f"Dense{layer}.W", f"Dense{layer}.b"], [out]))
        flow = out
        if layer < 3:
            nodes.append(helper.make_node("Relu", [out], [f"h{layer}"]))
            flow = f"h{layer}"
    names = [f"Dense{layer}.{part}" for layer in (1, 2, 3) for part in "Wb"]
    graph = helper.make_graph(
        nodes, "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 784])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 10])],
        [numpy_helper.from_array(weights[name], name) for name in names])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def timed(call, seconds):
    """Seconds of one call, the mean over as many as take about `seconds`."""
    begin = time.perf_counter()
    call()
    count = max(1, int(seconds / max(time.perf_counter() - begin, 1e-7)))
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - begin) / count


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("nnc")
    options.add_argument("--rows", type=int, nargs="+", default=[1, 10, 128])
    options.add_argument("--rounds", type=int, default=40)
    given = options.parse_args()
    nnc = os.path.abspath(given.nnc)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import numpy, onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        open(os.path.join(folder, "mlp.nn"), "w").write(PROGRAM)
        quiet = dict(cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([nnc, "train", "mlp.nn", "--out", "run"], **quiet)
        subprocess.run([nnc, "build", "run", "-o", "mlp"], **quiet)
        subprocess.run(["cc", "-shared", "-o", "mlp.so", "mlp.o"], **quiet)
        weights = parameters(os.path.join(folder, "run", "last.safetensors"), numpy)
        library = ctypes.CDLL(os.path.join(folder, "mlp.so"))
    session = onnx_session(weights, 1)
    print(f"ONNX Runtime {onnxruntime.__version__}, one thread; microseconds a call: least (median)")
    print(f"{'rows':>5} {'nnc':>18} {'ONNX Runtime':>18} {'ratio of least':>15}")
    for rows in given.rows:
        x = numpy.random.default_rng(1).random((rows, 784), dtype=numpy.float32)
        y = numpy.empty((rows, 10), numpy.float32)
        work = numpy.zeros(1 << 20, numpy.uint8)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, y, work)]
        call = lambda: library.mlp_infer(pointers[0], pointers[1], ctypes.c_size_t(rows), pointers[2])
        assert call() == 0
        binding = session.io_binding()  # the way with the least work around the call
        binding.bind_cpu_input("x", x)
        result = numpy.empty_like(y)
        binding.bind_output("y", "cpu", 0, numpy.float32, result.shape, result.ctypes.data)
        peer = lambda: session.run_with_iobinding(binding)
        peer()
        if not numpy.allclose(result, y, rtol=1e-4, atol=1e-5):
            sys.exit(f"{rows} rows: the results differ by {abs(result - y).max()}")
        own, other = [], []
        for _ in range(given.rounds):
            own.append(timed(call, 0.01) * 1e6)
            other.append(timed(peer, 0.01) * 1e6)
        both = [f"{min(times):.1f} ({sorted(times)[len(times) // 2]:.1f})" for times in (own, other)]
        print(f"{rows:>5} {both[0]:>18} {both[1]:>18} {min(own) / min(other):>15.2f}")


if __name__ == "__main__":
    main()
