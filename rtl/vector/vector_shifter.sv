// Shifts of the elements of a word, and what a right shift loses: its highest bit and whether there is more.
module vector_shifter (
  input  logic [1:0]  width_i,
  input  logic [63:0] a_i,
  input  logic [63:0] amount_i,  // the low bits of each element
  input  logic        left_i,
  input  logic        signed_i,
  output logic [63:0] value_o,
  output logic [7:0]  half_o,    // of each byte's element
  output logic [7:0]  rest_o
);

  logic [3:0][63:0] value;
  logic [3:0][7:0] half, rest;

  for (genvar width = 0; width < 4; width++) begin : gen_width
    localparam int unsigned Bits = 8 << width;
    localparam int unsigned Bytes = 1 << width;
    for (genvar i = 0; i < 64 / Bits; i++) begin : gen_element
      logic [Bits-1:0] given, turned, kept;
      logic signed [2*Bits:0] moved;
      // To the left is to the right in a mirror.
      assign given = a_i[Bits*i+:Bits];
      for (genvar bit_ = 0; bit_ < Bits; bit_++) begin : gen_mirror
        assign turned[bit_] = left_i ? given[Bits-1-bit_] : given[bit_];
        assign value[width][Bits*i+bit_] = left_i ? kept[Bits-1-bit_] : kept[bit_];
      end
      assign moved = $signed({signed_i & given[Bits-1], turned, {Bits{1'b0}}}) >>> amount_i[Bits*i+:$clog2(Bits)];
      assign kept  = moved[Bits+:Bits];
      assign half[width][Bytes*i+:Bytes] = {Bytes{moved[Bits-1]}};
      assign rest[width][Bytes*i+:Bytes] = {Bytes{|moved[Bits-2:0]}};
      logic unused;
      assign unused = moved[2*Bits];
    end
  end

  assign value_o = value[width_i];
  assign half_o  = half[width_i];
  assign rest_o  = rest[width_i];

  // A small element's amount is in its lowest bits.
  logic unused_amount;
  assign unused_amount = ^amount_i;

endmodule
