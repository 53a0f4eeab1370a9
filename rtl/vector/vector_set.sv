// vl and vtype that a vset gives.
module vector_set
  import potluck_isa_pkg::*;
  import vector_unit_pkg::*;
(
  input  logic [31:0] word_i,
  input  op_e         op_i,
  input  logic [63:0] a_i,     // rs1
  input  logic [63:0] b_i,     // rs2
  input  count_t      vl_i,    // as it is

  output count_t      vl_o,
  output logic [8:0]  vtype_o,
  output logic        vill_o
);

  logic [63:0] wanted;
  logic [3:0] lmul;  // binary logarithm, plus three
  count_t vlmax;
  logic [63:0] length;

  always_comb begin
    case (op_i)
      OP_VSETVLI:  wanted = {53'd0, word_i[30:20]};
      OP_VSETIVLI: wanted = {54'd0, word_i[29:20]};
      default:     wanted = b_i;
    endcase
  end

  assign lmul  = 4'(wanted[2:0] ^ 3'b100) - 4'd1;
  assign vlmax = count_t'((VlenBits << lmul) >> (4'd6 + 4'(wanted[4:3])));

  always_comb begin
    length = (op_i == OP_VSETIVLI) ? {59'd0, word_i[19:15]} : a_i;
    if (op_i != OP_VSETIVLI && word_i[19:15] == '0) length = (word_i[11:7] == '0) ? 64'(vl_i) : '1;
  end

  // Reserved: unknown bits and codes, SEW above 64 LMUL, an alternate format of other than bytes.
  assign vill_o  = |wanted[63:9] || wanted[2:0] == 3'b100 || wanted[5] || (wanted[8] && wanted[4:3] != '0) ||
                   (4'(wanted[4:3]) > lmul);
  assign vl_o    = vill_o ? '0 : ((length > 64'(vlmax)) ? vlmax : count_t'(length));
  assign vtype_o = vill_o ? '0 : wanted[8:0];

  logic unused;
  assign unused = ^word_i;

endmodule
