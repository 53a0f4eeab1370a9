// Results that no sum decides: NaN and infinite operands, in the order of priority of fact sheet section 1.5.
module mxdotp_special
  import fp_pkg::*;
  import mxdotp_pkg::*;
(
  input  logic [31:0] acc_i,  // FP32, or BF16 in the upper half: the same fields either way
  input  special_t    elements_i,
  input  logic        scale_nan_i,
  output logic        active_o,
  output logic [31:0] result_o,
  output logic        invalid_o
);

  logic acc_top, acc_nan, acc_inf, signalling, nan, positive, negative;

  assign acc_top    = &acc_i[30:23];
  assign acc_nan    = acc_top & (acc_i[22:0] != '0);
  assign acc_inf    = acc_top & (acc_i[22:0] == '0);
  assign signalling = elements_i.signalling | (acc_nan & ~acc_i[22]);
  assign nan        = elements_i.nan | scale_nan_i | acc_nan;
  assign positive   = elements_i.pos_inf | (acc_inf & ~acc_i[31]);
  assign negative   = elements_i.neg_inf | (acc_inf & acc_i[31]);

  assign invalid_o = elements_i.inf_zero | signalling | (~nan & positive & negative);
  assign active_o  = elements_i.inf_zero | nan | positive | negative;
  assign result_o  = (nan | invalid_o) ? CanonicalNan : {negative, 8'hFF, 23'b0};

endmodule
