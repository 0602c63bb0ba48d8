" Syntax of nnc's .nn files. Made by editors/syntax.sh; do not edit.
if exists("b:current_syntax")
  finish
endif
syntax keyword nnKeyword and carry else for if in let not or param return state update expect gradcheck set
syntax keyword nnDeclaration const data fn import layer model optimizer test train metric output as on
syntax keyword nnConstant false true
syntax keyword nnType bool f32 f64 float i32 int string
syntax keyword nnSetting average batch_size best check_every clip_norm early_stop epochs fit loss samples seed shuffle stop valid
syntax keyword nnLayer Attention BatchNorm Conv2d ConvTranspose2d Dense DepthwiseConv2d Dropout Embedding Gru GruCell LayerNorm Lstm LstmCell RMSNorm Rnn RnnCell
syntax keyword nnFunction abs accuracy adadelta adagrad adam adamw argmax avg_pool binary_cross_entropy binary_cross_entropy_logits border bounded checked clamp classes col cols concat confusion constant convolve cos cosine cross_entropy cross_entropy_bits csv decode_codes elu ema epoch_average erf exp expm1 exponential f1 flatten frozen gelu gelu_tanh glorot_normal glorot_uniform grad half_mse he_normal he_uniform hide_later hinge huber idx iota kl_divergence leaky_relu lecun_normal lion log log1p log_softmax logistic logsumexp mae max max_pool mean min minmax momentum mse nadam nesterov newton normal normal_cdf npy npz one_cycle one_hot one_vs_one one_vs_one_codes one_vs_rest ones orthogonal output_codes pad params patches polar_approach polar_factor polar_step polynomial pow precision r2 random range recall relu repeat reshape rmse rmsprop scan scatter_add select selu sgd sigmoid sign silu sin size softmax softmax_cross_entropy softplus solve split sqrt square standardize step_decay stop_gradient sum table take_along tanh top_k transpose unbounded uniform var warmup weights window zeros
syntax match nnNumber "\<\d[0-9_]*\(\.\d\+\)\?\([eE][-+]\?\d\+\)\?\>"
syntax match nnOperator "|>\|->\|//\|[-+*/@^=<>!]"
syntax region nnString start=+"+ skip=+\\.+ end=+"+ oneline
syntax match nnComment "#.*$"
syntax match nnDocument "^\s*##.*$"
highlight default link nnKeyword Keyword
highlight default link nnDeclaration Structure
highlight default link nnConstant Boolean
highlight default link nnType Type
highlight default link nnSetting Identifier
highlight default link nnLayer Special
highlight default link nnFunction Function
highlight default link nnNumber Number
highlight default link nnOperator Operator
highlight default link nnString String
highlight default link nnComment Comment
highlight default link nnDocument SpecialComment
let b:current_syntax = "nn"
