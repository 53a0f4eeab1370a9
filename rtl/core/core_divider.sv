// Quotients and remainders, one at a time, a few bits a cycle: as many as it takes for the result to be offered
// Latency - 1 cycles after the operands came, whatever they are. Division by zero gives all ones and the dividend, the
// one overflow the dividend and zero (unprivileged specification, table 11): both follow from the unsigned division.
module core_divider
  import potluck_isa_pkg::*;
  import core_pkg::*;
#(
  parameter int unsigned Latency = 32
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        valid_i,
  output logic        ready_o,
  input  op_e         op_i,
  input  logic        word_i,
  input  logic [4:0]  register_i,
  input  logic [63:0] a_i,
  input  logic [63:0] b_i,
  output write_t      result_o
);

  localparam int unsigned Cycles = Latency - 1;
  localparam int unsigned Steps = (64 + Cycles - 1) / Cycles;  // bits of the quotient in a cycle
  localparam int unsigned Width = $clog2(Cycles + 1);

  logic is_signed, wants_remainder;
  assign is_signed       = op_i == OP_DIV || op_i == OP_DIVW || op_i == OP_REM || op_i == OP_REMW;
  assign wants_remainder = op_i == OP_REM || op_i == OP_REMW || op_i == OP_REMU || op_i == OP_REMUW;

  logic [63:0] a, b, a_magnitude, b_magnitude;
  assign a = word_i ? extended(a_i, 2'd2, ~is_signed) : a_i;
  assign b = word_i ? extended(b_i, 2'd2, ~is_signed) : b_i;
  assign a_magnitude = (is_signed && a[63]) ? -a : a;
  assign b_magnitude = (is_signed && b[63]) ? -b : b;

  logic [Width-1:0] left_q;      // cycles to go
  logic [6:0] bits_q;            // of the quotient to come
  logic [63:0] quotient_q, remainder_q, divisor_q;
  logic remainder_wanted_q, negative_q, word_q;
  logic [4:0] register_q;

  // The dividend's bits leave the quotient register at its top while the quotient's come in at its end.
  logic [63:0] quotient_d, remainder_d;
  logic [6:0] bits_d;
  logic [64:0] shifted;
  always_comb begin
    quotient_d  = quotient_q;
    remainder_d = remainder_q;
    bits_d      = bits_q;
    shifted     = '0;
    for (int unsigned step = 0; step < Steps; step++) begin
      if (bits_d != '0) begin
        shifted     = {remainder_d, quotient_d[63]};
        remainder_d = shifted[63:0];
        quotient_d  = {quotient_d[62:0], 1'b0};
        if (shifted >= {1'b0, divisor_q}) begin
          remainder_d   = 64'(shifted - {1'b0, divisor_q});
          quotient_d[0] = 1'b1;
        end
        bits_d = bits_d - 7'd1;
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) left_q <= '0;
    else if (valid_i && ready_o) left_q <= Width'(Cycles);
    else if (left_q != '0) left_q <= left_q - Width'(1);
  end

  always_ff @(posedge clk_i) begin
    if (valid_i && ready_o) begin
      bits_q             <= 7'd64;
      quotient_q         <= a_magnitude;
      remainder_q        <= '0;
      divisor_q          <= b_magnitude;
      remainder_wanted_q <= wants_remainder;
      negative_q         <= is_signed & (wants_remainder ? a[63] : (a[63] ^ b[63]) & (b != '0));
      word_q             <= word_i;
      register_q         <= register_i;
    end else begin
      bits_q      <= bits_d;
      quotient_q  <= quotient_d;
      remainder_q <= remainder_d;
    end
  end

  logic [63:0] magnitude, value;
  assign magnitude = remainder_wanted_q ? remainder_d : quotient_d;
  assign value     = negative_q ? -magnitude : magnitude;

  assign ready_o  = left_q == '0;
  assign result_o = '{
    valid: left_q == Width'(1), register_number: register_q,
    value: word_q ? extended(value, 2'd2, 1'b0) : value
  };

endmodule
