// Range identifiers of the values in a 32-bit lane, as one code symbol: the lowest value in the uppermost bits.
//
// Floating-point formats of 16 and 32 bits compare their exponent with ascending bounds: the RID is how many it
// reaches. Narrower formats look their code up. FP32 under SSC has as many RIDs as exponents: the RID is the exponent.
// A symbol of 4 bits has no room for the RIDs of nibbles and sextets.
module rid_mapper
  import potluck_ecc_pkg::*;
#(
  parameter int unsigned SymbolBits = 4  // 4: DSC, 8: SSC
) (
  input  logic [31:0]           lane_i,
  input  range_format_e         format_i,
  input  logic [14:0][8:0]      bounds_i,  // ascending; 256 is never reached
  input  logic [255:0][1:0]     codes_i,   // RID by code
  output logic [SymbolBits-1:0] symbol_o
);
  // Eight copies in a line would make Verilator's model slow to compile.
  /* verilator no_inline_module */

  // The lower half is a value of its own only in formats of 16 bits, whose RIDs have half a symbol.
  localparam int unsigned LowerBounds = (1 << (SymbolBits / 2)) - 1;

  // Exponents of the halves; that of FP32 lies where BF16's upper one does.
  logic [7:0] upper, lower;
  logic [14:0] upper_reached;
  logic [LowerBounds-1:0] lower_reached;
  logic [3:0][1:0] byte_rid;

  assign upper = (format_i == RANGE_FP16) ? {3'b0, lane_i[30:26]} : lane_i[30:23];
  assign lower = (format_i == RANGE_FP16) ? {3'b0, lane_i[14:10]} : lane_i[14:7];

  for (genvar k = 0; k < 15; k++) begin : gen_upper
    assign upper_reached[k] = {1'b0, upper} >= bounds_i[k];
  end
  for (genvar k = 0; k < LowerBounds; k++) begin : gen_lower
    assign lower_reached[k] = {1'b0, lower} >= bounds_i[k];
  end

  // How many bounds are reached: they ascend, so that the comparisons are a thermometer code.
  function automatic logic [1:0] count3(input logic [2:0] reached);
    return {reached[1], reached[1] ? reached[2] : reached[0]};
  endfunction

  function automatic logic [3:0] count15(input logic [14:0] reached);
    logic [3:0] rid;
    rid[3] = reached[7];
    rid[2] = rid[3] ? reached[11] : reached[3];
    rid[1:0] = rid[3] ? (rid[2] ? count3(reached[14:12]) : count3(reached[10:8])) :
                        (rid[2] ? count3(reached[6:4]) : count3(reached[2:0]));
    return rid;
  endfunction

  for (genvar i = 0; i < 4; i++) begin : gen_byte
    assign byte_rid[i] = codes_i[lane_i[8*i+:8]];
  end

  if (SymbolBits == 4) begin : gen_dsc
    always_comb begin
      case (format_i)
        RANGE_FP32:             symbol_o = count15(upper_reached);
        RANGE_BF16, RANGE_FP16: symbol_o = {count3(lower_reached), count3(upper_reached[2:0])};
        RANGE_BYTE:             symbol_o = {byte_rid[0][0], byte_rid[1][0], byte_rid[2][0], byte_rid[3][0]};
        default:                symbol_o = '0;
      endcase
    end
    // A byte has one bit.
    logic unused;
    assign unused = ^{byte_rid[3][1], byte_rid[2][1], byte_rid[1][1], byte_rid[0][1]};
  end else begin : gen_ssc
    logic [7:0] nibbles;
    logic [4:0] sextets;
    for (genvar i = 0; i < 8; i++) begin : gen_nibble
      assign nibbles[7-i] = codes_i[{4'b0, lane_i[4*i+:4]}][0];
    end
    for (genvar i = 0; i < 5; i++) begin : gen_sextet
      assign sextets[4-i] = codes_i[{2'b0, lane_i[6*i+:6]}][0];
    end
    always_comb begin
      case (format_i)
        RANGE_FP32:             symbol_o = upper;
        RANGE_BF16, RANGE_FP16: symbol_o = {count15(lower_reached), count15(upper_reached)};
        RANGE_BYTE:             symbol_o = {byte_rid[0], byte_rid[1], byte_rid[2], byte_rid[3]};
        RANGE_NIBBLE:           symbol_o = nibbles;
        RANGE_SEXTET:           symbol_o = {3'b0, sextets};
        default:                symbol_o = '0;
      endcase
    end
  end

endmodule
