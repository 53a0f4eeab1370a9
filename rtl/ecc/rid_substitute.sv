// Puts the representative of the right range in the place of every value of a 32-bit lane whose RID was wrong. Formats
// by exponent keep the received sign and lose their mantissa. Fields of the symbols lie as in rid_mapper.
module rid_substitute
  import potluck_ecc_pkg::*;
#(
  parameter int unsigned SymbolBits = 4  // 4: DSC, 8: SSC
) (
  input  logic [31:0]           lane_i,
  input  range_format_e         format_i,
  input  logic [15:0][7:0]      representatives_i,  // exponent or code by RID
  input  logic [SymbolBits-1:0] symbol_i,           // right RIDs
  input  logic [SymbolBits-1:0] error_i,            // where the received ones differed
  output logic [31:0]           lane_o
);
  // Eight copies in a line would make Verilator's model slow to compile.
  /* verilator no_inline_module */

  localparam int unsigned HalfBits = SymbolBits / 2;
  localparam int unsigned ByteBits = SymbolBits / 4;

  logic [7:0] fp32_exponent;
  logic [1:0] half_wrong;
  logic [1:0][7:0] half;        // representatives by slot
  logic [3:0] byte_wrong;
  logic [3:0][7:0] code;
  logic [7:0] nibble_wrong, nibble_rid;
  logic [4:0] sextet_wrong, sextet_rid;

  if (SymbolBits == 8) begin : gen_ssc
    assign fp32_exponent = symbol_i;
    for (genvar i = 0; i < 8; i++) begin : gen_nibble
      assign nibble_wrong[i] = error_i[7-i];
      assign nibble_rid[i]   = symbol_i[7-i];
    end
    for (genvar i = 0; i < 5; i++) begin : gen_sextet
      assign sextet_wrong[i] = error_i[4-i];
      assign sextet_rid[i]   = symbol_i[4-i];
    end
  end else begin : gen_dsc
    assign fp32_exponent = representatives_i[symbol_i];
    assign nibble_wrong  = '0;
    assign nibble_rid    = '0;
    assign sextet_wrong  = '0;
    assign sextet_rid    = '0;
  end

  always_comb begin
    logic [3:0] rid;
    for (int unsigned i = 0; i < 2; i++) begin
      rid = '0;
      rid[HalfBits-1:0] = symbol_i[HalfBits*(1-i)+:HalfBits];
      half_wrong[i] = |error_i[HalfBits*(1-i)+:HalfBits];
      half[i] = representatives_i[rid];
    end
    for (int unsigned i = 0; i < 4; i++) begin
      rid = '0;
      rid[ByteBits-1:0] = symbol_i[ByteBits*(3-i)+:ByteBits];
      byte_wrong[i] = |error_i[ByteBits*(3-i)+:ByteBits];
      code[i] = representatives_i[rid];
    end
  end

  always_comb begin
    lane_o = lane_i;
    case (format_i)
      RANGE_FP32: if (|error_i) lane_o[30:0] = {fp32_exponent, 23'b0};
      RANGE_BF16: begin
        for (int unsigned i = 0; i < 2; i++) if (half_wrong[i]) lane_o[16*i+:15] = {half[i], 7'b0};
      end
      RANGE_FP16: begin
        for (int unsigned i = 0; i < 2; i++) if (half_wrong[i]) lane_o[16*i+:15] = {half[i][4:0], 10'b0};
      end
      RANGE_BYTE: begin
        for (int unsigned i = 0; i < 4; i++) if (byte_wrong[i]) lane_o[8*i+:8] = code[i];
      end
      RANGE_NIBBLE: begin
        for (int unsigned i = 0; i < 8; i++) begin
          if (nibble_wrong[i]) lane_o[4*i+:4] = representatives_i[{3'b0, nibble_rid[i]}][3:0];
        end
      end
      RANGE_SEXTET: begin
        for (int unsigned i = 0; i < 5; i++) begin
          if (sextet_wrong[i]) lane_o[6*i+:6] = representatives_i[{3'b0, sextet_rid[i]}][5:0];
        end
      end
      default: ;
    endcase
  end

endmodule
