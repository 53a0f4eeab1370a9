// A part of lzc, by halves: the upper half is a power of two wide, so that its width is one bit of the count.
module lzc_node #(
  parameter int unsigned Width = 8,
  localparam int unsigned CountWidth = (Width > 1) ? $clog2(Width) : 1
) (
  input  logic [Width-1:0]      in_i,
  output logic [CountWidth-1:0] count_o,  // zeros above the highest one; 0 if there is none
  output logic                  empty_o   // no bit is set
);

  if (Width == 1) begin : gen_leaf
    assign count_o = 1'b0;
    assign empty_o = ~in_i[0];
  end else begin : gen_halves
    localparam int unsigned Upper = 1 << ($clog2(Width) - 1);
    localparam int unsigned Lower = Width - Upper;
    localparam int unsigned UpperCount = (Upper > 1) ? $clog2(Upper) : 1;
    localparam int unsigned LowerCount = (Lower > 1) ? $clog2(Lower) : 1;

    logic [UpperCount-1:0] upper_count;
    logic [LowerCount-1:0] lower_count;
    logic upper_empty, lower_empty;

    lzc_node #(
      .Width(Upper)
    ) u_upper (
      .in_i(in_i[Width-1:Lower]),
      .count_o(upper_count),
      .empty_o(upper_empty)
    );
    lzc_node #(
      .Width(Lower)
    ) u_lower (
      .in_i(in_i[Lower-1:0]),
      .count_o(lower_count),
      .empty_o(lower_empty)
    );

    assign empty_o = upper_empty & lower_empty;
    always_comb begin
      count_o = '0;
      if (!upper_empty) begin
        count_o[UpperCount-1:0] = upper_count;
      end else if (!lower_empty) begin
        count_o[LowerCount-1:0] = lower_count;
        count_o[$clog2(Upper)]  = 1'b1;
      end
    end
  end

endmodule
