// Decodes the four VMXDOTP instructions under fcsr. Combinational; outputs other than valid_o mean something only if
// it is set, and an instruction that is illegal_o must trap.
module mxdotp_decoder
  import fp_pkg::*;
  import mxdotp_pkg::*;
  import potluck_isa_pkg::*;
(
  input  logic [31:0] word_i,
  input  logic [13:0] fcsr_i,      // src_fmt[13:10], fmode.src[9], fmode.dst[8], frm[7:5], fflags[4:0]

  output logic        valid_o,
  output logic        illegal_o,
  output logic        quad_o,      // elements of four times SEW, into BF16; otherwise twice, into FP32
  output logic        scalar_o,    // s1 and s3 are floating-point registers
  output logic [4:0]  vd_o,
  output logic [4:0]  s1_o,
  output logic [4:0]  s2_o,
  output logic [4:0]  s3_o,
  output logic [4:0]  s4_o,
  output elem_fmt_e   elem_fmt_o,
  output fp_fmt_e     acc_fmt_o,
  output rm_e         rm_o
);

  localparam logic [3:0] SrcFmtFp4 = 4'd8;

  logic ww, wf, qq, qf;

  assign ww = (word_i & MASK_VMXDOTP_WW) == MATCH_VMXDOTP_WW;
  assign wf = (word_i & MASK_VMXDOTP_WF) == MATCH_VMXDOTP_WF;
  assign qq = (word_i & MASK_VMXDOTP_QQ) == MATCH_VMXDOTP_QQ;
  assign qf = (word_i & MASK_VMXDOTP_QF) == MATCH_VMXDOTP_QF;

  assign valid_o  = ww | wf | qq | qf;
  assign quad_o   = qq | qf;
  assign scalar_o = wf | qf;

  // The four formats agree on where the five operands stand.
  assign vd_o = get_vd_11_7(word_i);
  assign s1_o = get_vs1_19_15(word_i);
  assign s2_o = get_vs2_24_20(word_i);
  assign s3_o = get_vs3_31_27(word_i);
  assign s4_o = get_vs4_26_25_14_12(word_i);

  always_comb begin
    if (fcsr_i[13:10] == SrcFmtFp4) elem_fmt_o = E2M1;
    else if (fcsr_i[9]) elem_fmt_o = E4M3;
    else elem_fmt_o = E5M2;
  end

  assign acc_fmt_o = quad_o ? BF16 : FP32;
  assign rm_o      = rm_e'(fcsr_i[7:5]);

  // A 16-bit result that is not declared to be BF16 would be FP16, which the unit does not have.
  assign illegal_o = valid_o && ((quad_o && !fcsr_i[8]) || (fcsr_i[7:5] > RMM));

  logic unused;
  assign unused = ^fcsr_i[4:0];

endmodule
